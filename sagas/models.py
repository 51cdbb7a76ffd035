"""Abstract models for the tables of a service, and for the tables of a saga's home.

A service has an outbox, an inbox, holds, step faults, limits of calls and a watermark. A home also
has tracked sagas and their timeline. Each domain app derives its own models, so that the tables are
in its database and under its name in the admin. The engine writes the tables with set-based SQL
(see `sagas.storage`).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from sagas.ids import uuid7

__all__ = [
    "BASES",
    "CallLimit",
    "Hold",
    "Inbox",
    "Outbox",
    "ServiceTables",
    "StepFault",
    "TimelineEvent",
    "TrackedSaga",
    "Watermark",
]


class Outbox(models.Model):
    """An event, written in the transaction of its change, and the message to the next step.

    A row is due (`published_at` null, `due_at` past), then leased (`due_at` in the future), then
    published. A re-drive makes it due again.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    saga = models.UUIDField()
    saga_started_at = models.DateTimeField()
    seq = models.IntegerField(help_text="Number of steps since the saga started.")
    type = models.CharField(max_length=100)
    step = models.CharField(
        max_length=100, blank=True, help_text="The step that wrote this; empty for the start."
    )
    step_attempt = models.IntegerField(default=1)
    data = models.JSONField(help_text="The fields of the event.")
    context = models.JSONField(
        help_text="The data of the saga: the fields of its first event, and its failure."
    )
    plan = models.JSONField()
    target = models.CharField(  # noqa: DJ001
        max_length=100, null=True, help_text="The next step; null at the end of the saga."
    )
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField(db_default=Now())
    published_at = models.DateTimeField(null=True)
    attempts = models.IntegerField(default=0, help_text="How often a relay has leased this row.")
    last_error = models.TextField(blank=True, default="")

    class Meta:
        abstract = True
        verbose_name_plural = "outbox"
        indexes = (
            models.Index(
                fields=("due_at",), condition=Q(published_at=None), name="%(app_label)s_outbox_due"
            ),
            models.Index(fields=("saga",), name="%(app_label)s_outbox_saga"),
            BrinIndex(
                fields=("saga_started_at",), autosummarize=True, name="%(app_label)s_outbox_age"
            ),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.saga}"


class Inbox(models.Model):
    """The state of one step of one saga. The row makes the step run at most once.

    `started`, `waiting` and `held` are open; `done` and `refused` are final. A `held` row keeps its
    message while its saga or its step is on hold. A `refused` row is also the tombstone of an
    action whose undo came first.
    """

    class State(models.TextChoices):
        STARTED = "started"
        WAITING = "waiting"
        HELD = "held"
        DONE = "done"
        REFUSED = "refused"

    id = models.BigAutoField(primary_key=True)
    saga = models.UUIDField()
    saga_started_at = models.DateTimeField()
    step = models.CharField(max_length=100)
    state = models.CharField(max_length=10, choices=State.choices)
    attempts = models.IntegerField(default=0)
    losses = models.IntegerField(
        default=0, db_default=0, help_text="How many attempts ended because their process was lost."
    )
    excused = models.IntegerField(
        default=0,
        db_default=0,
        help_text="The attempts up to this number do not count, because the last of them failed by "
        "no fault of the saga.",
    )
    losses_excused = models.IntegerField(
        default=0, db_default=0, help_text="The losses that are among the excused attempts."
    )
    error = models.TextField(blank=True, default="")
    due_at = models.DateTimeField(
        db_default=Now(), help_text="From this time on, a worker may take over an open row."
    )
    send_at = models.DateTimeField(
        null=True, help_text="When the relay of the service sends an open row again."
    )
    sent_at = models.DateTimeField(
        null=True,
        help_text="When the relay last sent an open row. No later than the last change once a"
        " worker has taken the message.",
    )
    message = models.JSONField(
        null=True, help_text="The message. It is kept while the row is open."
    )
    claim = models.UUIDField(
        null=True, help_text="The token of the run that holds a started row of an external step."
    )
    session_pid = models.IntegerField(
        null=True, help_text="The process id of the database session of the claim."
    )
    session_started = models.DateTimeField(
        null=True, help_text="When the database session of the claim started."
    )
    destination = models.TextField(
        default="",
        db_default="",
        blank=True,
        help_text="The outside system of the last call or hold of an external step; empty if it is "
        "not known.",
    )
    by_hand = models.JSONField(
        null=True, help_text="The person who marked the step as done, and the evidence."
    )
    signal = models.JSONField(
        null=True,
        help_text="The answer to a wait: its event, its sender, the reason and the time. "
        "It may come before the message, which this row then still lacks.",
    )
    expires_at = models.DateTimeField(
        null=True, help_text="From this time on, a wait takes no signal."
    )
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True
        verbose_name_plural = "inbox"
        constraints = (
            models.UniqueConstraint(fields=("saga", "step"), name="%(app_label)s_inbox_once"),
            models.CheckConstraint(
                condition=Q(state__in=("started", "waiting", "held", "done", "refused")),
                name="%(app_label)s_inbox_state",
            ),
        )
        indexes = (
            models.Index(
                fields=("send_at",),
                condition=Q(state__in=("started", "waiting")),
                name="%(app_label)s_inbox_send",
            ),
            models.Index(
                fields=("session_pid",),
                condition=Q(state="started", session_pid__isnull=False),
                name="%(app_label)s_inbox_claimed",
            ),
            models.Index(
                fields=("step", "id"), condition=Q(state="held"), name="%(app_label)s_inbox_held"
            ),
            models.Index(
                fields=("step", "destination", "id"),
                condition=Q(state="held"),
                name="%(app_label)s_inbox_held_to",
            ),
            BrinIndex(
                fields=("saga_started_at",), autosummarize=True, name="%(app_label)s_inbox_age"
            ),
        )

    def __str__(self) -> str:
        return f"{self.step} {self.state} {self.saga}"

    @property
    def is_answered_early(self) -> bool:
        """Whether the row is a wait that has its answer, and has not begun."""
        is_waiting = self.state == self.State.WAITING and self.message is None
        return is_waiting and self.signal is not None


class Hold(models.Model):
    """A hold on one saga at every step of this service, on one step of all sagas, or on the calls
    of one step to one destination.

    A saga's home also has a copy of every hold on a step. Redrive reads the copy; it stops nothing
    there. The engine places and releases an `automatic` hold by itself: one saga at a time, the
    `probe`, tries the step.
    """

    id = models.BigAutoField(primary_key=True)
    saga = models.UUIDField(null=True, unique=True)
    # Null in a hold on a saga, and in a hold on a destination.
    step = models.CharField(max_length=100, null=True, unique=True)  # noqa: DJ001
    # Null in a hold on a saga, and in a hold on a whole step. It has a column of its own, because
    # processes of the release before insert with ON CONFLICT (step), which needs the unique index.
    calling_step = models.CharField(  # noqa: DJ001
        max_length=100, null=True, help_text="The step whose calls to the destination wait."
    )
    destination = models.TextField(
        default="", db_default="", help_text="The outside system; empty if it is none."
    )
    since = models.DateTimeField(db_default=Now())
    by = models.CharField(
        max_length=150, help_text="The name of the user, because users are in another database."
    )
    why = models.TextField()
    automatic = models.BooleanField(
        default=False, db_default=False, help_text="The engine placed the hold, and releases it."
    )
    expires_at = models.DateTimeField(
        null=True, help_text="Set in the copy of an automatic hold: it counts until then."
    )
    probe = models.UUIDField(null=True, help_text="The saga that tries the step, or tried it last.")
    probed_at = models.DateTimeField(null=True, help_text="When this saga was sent to try.")
    probe_at = models.DateTimeField(
        db_default=Now(), help_text="From this time on, the next saga may try."
    )
    probes = models.IntegerField(default=0, db_default=0, help_text="How many sagas have tried.")

    class Meta:
        abstract = True
        constraints = (
            models.CheckConstraint(
                condition=Q(saga=None, step__isnull=False, calling_step=None, destination="")
                | Q(saga__isnull=False, step=None, calling_step=None, destination="")
                | Q(saga=None, step=None, calling_step__isnull=False) & ~Q(destination=""),
                name="%(app_label)s_hold_one_thing",
            ),
            models.UniqueConstraint(
                fields=("calling_step", "destination"), name="%(app_label)s_hold_destination"
            ),
        )

    def __str__(self) -> str:
        if self.calling_step:
            return f"{self.calling_step} to {self.destination} on hold"
        return f"{self.saga or self.step} on hold"


class StepFault(models.Model):
    """A saga for which a step failed, and the pattern of the error: evidence of a shared fault.

    All processes of a service judge by these rows (`sagas.execution.blame`). A step that succeeds
    writes none. The id follows from step, pattern and saga, so no sequence is involved.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    step = models.CharField(max_length=100)
    pattern = models.UUIDField(help_text="The same for all errors that look alike.")
    saga = models.UUIDField()
    blame = models.CharField(
        max_length=10, help_text="The party at fault, as far as the error alone shows it."
    )
    destination = models.TextField(
        default="",
        db_default="",
        help_text="The outside system that is at fault; empty if it is none, or not known.",
    )
    error = models.TextField(help_text="The last error.")
    beside_success = models.BooleanField(
        default=False, help_text="The step succeeded for another saga at the same time or later."
    )
    shared = models.BooleanField(default=False, help_text="Judged as no fault of this saga.")
    first_at = models.DateTimeField(db_default=Now())
    last_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True
        indexes = (models.Index(fields=("step", "pattern"), name="%(app_label)s_fault_step"),)

    def __str__(self) -> str:
        return f"{self.step} {self.blame} {self.saga}"


class CallLimit(models.Model):
    """The limit of the calls of one key, and the calls that all processes have started.

    A key is a step, an outside system, or a part of one (`sagas.definition.limits`). The limit
    counts if an operator has set it, so if `by` is not empty. Otherwise the default counts.
    """

    id = models.BigAutoField(primary_key=True)
    key = models.TextField(unique=True)
    per_second = models.IntegerField(
        null=True, help_text="The most calls that start within a second; null for no limit."
    )
    at_once = models.IntegerField(
        null=True, help_text="The most calls that run at a time; null for no limit."
    )
    by = models.CharField(
        max_length=150, default="", db_default="", help_text="The operator who set the limit."
    )
    why = models.TextField(default="", db_default="")
    since = models.DateTimeField(db_default=Now())
    next_at = models.DateTimeField(
        db_default=Now(), help_text="From this time on, the next call may start."
    )
    in_use = models.JSONField(
        default=dict,
        db_default={},
        help_text="For each process, the calls that it runs, and until when they count.",
    )
    used_at = models.DateTimeField(
        db_default=Now(), help_text="When a process last asked for permits."
    )
    reached_at = models.DateTimeField(null=True, help_text="When a call last waited.")

    class Meta:
        abstract = True
        constraints = (
            models.CheckConstraint(
                condition=(Q(per_second=None) | Q(per_second__gte=1))
                & (Q(at_once=None) | Q(at_once__gte=1)),
                name="%(app_label)s_calllimit_positive",
            ),
        )

    def __str__(self) -> str:
        return self.key


class Watermark(models.Model):
    """For one home: its sagas that started before this time are purged, except the sagas in `kept`.

    The row with an empty home is of a release that did not tell the homes apart. It holds for all.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    home = models.CharField(max_length=100, unique=True, default="", db_default="")
    before = models.DateTimeField()
    kept = ArrayField(models.UUIDField(), default=list)
    listed = models.JSONField(
        null=True, help_text="When a list of the home last named each saga in `kept`."
    )
    listed_before = models.DateTimeField(
        null=True, help_text="The date of the newest list. An older list is ignored."
    )
    heard_since = models.DateTimeField(
        null=True, help_text="Since when the lists of the home arrive without a long gap."
    )
    heard_at = models.DateTimeField(null=True, help_text="When the last list arrived.")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.home} before {self.before}"


class TrackedSaga(models.Model):
    """A saga at its home: its plan, its end, and the time at which it counts as stalled.

    `ended_at` does not follow from a status of the domain. That may be final at the pivot, but the
    saga goes on until the last step. The primary key is the id of the saga. A model whose UUID
    primary key has another name sets `id = None`.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    plan = models.JSONField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)
    rescue_at = models.DateTimeField(
        db_default=Now(),
        editable=False,
        help_text="The saga is re-driven if it makes no progress until then.",
    )
    redrives = models.IntegerField(default=0, editable=False)
    early_redrives = models.IntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="Re-drives before the saga stalled, since its last progress.",
    )
    needs_attention = models.BooleanField(default=False)
    on_hold = models.CharField(
        max_length=100,
        default="",
        db_default="",
        editable=False,
        help_text="The step at which the saga waits for the release of a hold.",
    )

    waits_until = models.DateTimeField(
        null=True,
        editable=False,
        help_text="Until then the saga waits as agreed for a person or another system.",
    )

    deadline_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="The saga is undone from then on, until its pivot. Null: none, or it has acted.",
    )

    parent_saga = models.UUIDField(
        null=True, editable=False, help_text="The saga that started this one as its child."
    )
    parent_step = models.CharField(
        max_length=100,
        default="",
        db_default="",
        editable=False,
        help_text="The step of the parent, which waits for the end of this saga.",
    )

    class Meta:
        abstract = True
        indexes = (
            models.Index(
                fields=("deadline_at",),
                condition=Q(ended_at=None, deadline_at__isnull=False),
                name="%(app_label)s_%(class)s_late",
            ),
            models.Index(
                fields=("on_hold", "rescue_at"),
                condition=Q(ended_at=None),
                name="%(app_label)s_%(class)s_open",
            ),
        )

    @classmethod
    def apply_events(cls, events: Sequence[Any]) -> None:
        """Update the domain's own columns from new timeline entries, oldest first.

        The engine calls this in the transaction that records the entries. It does not call it for
        the first event of a saga, because `sagas.lifecycle.start` runs in the transaction that
        inserts the row.
        """


class TimelineEvent(models.Model):
    """One event of a saga, in any service. People read the timeline; no decision depends on it."""

    id = models.UUIDField(primary_key=True, editable=False)
    saga = models.UUIDField()
    seq = models.IntegerField()
    type = models.CharField(max_length=100)
    service = models.CharField(max_length=50)
    step = models.CharField(max_length=100, blank=True)
    attempt = models.IntegerField(default=1)
    at = models.DateTimeField()
    recorded_at = models.DateTimeField(
        db_default=Now(),
        editable=False,
        help_text="Time of the home's database. Within a saga it follows the order of commits.",
    )
    detail = models.JSONField()

    class Meta:
        abstract = True
        # Oldest first by the clocks of the services. `seq` alone is no order if the saga goes
        # forward and back at the same time.
        ordering = ("at", "seq", "id")
        indexes = (models.Index(fields=("saga", "at"), name="%(app_label)s_timeline_saga"),)

    def __str__(self) -> str:
        return f"{self.type} {self.at}"


# All abstract models. An app derives each of them once, but a home may track each kind of saga in a
# model of its own.
BASES = (Outbox, Inbox, Hold, StepFault, CallLimit, Watermark, TimelineEvent, TrackedSaga)


class ServiceTables:
    """Derive a class from this one in the models of an app: the app then has the engine's tables.

        class Messaging(ServiceTables, home=True): ...

    The app gets the models `Outbox`, `Inbox`, `Hold`, `StepFault`, `CallLimit` and `Watermark`. An
    app in which sagas start is their home: with `home=True` it also gets `TimelineEvent`. Each
    model is an attribute of the class. An app that needs other options for a model derives all of
    them itself.
    """

    outbox: ClassVar[type[Outbox]]
    inbox: ClassVar[type[Inbox]]
    hold: ClassVar[type[Hold]]
    step_fault: ClassVar[type[StepFault]]
    call_limit: ClassVar[type[CallLimit]]
    watermark: ClassVar[type[Watermark]]
    timeline: ClassVar[type[TimelineEvent]]

    def __init_subclass__(cls, *, home: bool = False) -> None:
        """Create the models, in the module of the class."""
        super().__init_subclass__()
        cls.outbox = _concrete(Outbox, cls)
        cls.inbox = _concrete(Inbox, cls)
        cls.hold = _concrete(Hold, cls)
        cls.step_fault = _concrete(StepFault, cls)
        cls.call_limit = _concrete(CallLimit, cls)
        cls.watermark = _concrete(Watermark, cls)
        if home:
            cls.timeline = _concrete(TimelineEvent, cls)


def _concrete(base: Any, tables: type[ServiceTables]) -> Any:
    """Return a model derived from an abstract one, in the module and the app of `tables`."""
    options = type("Meta", (base.Meta,), {"abstract": False})
    return type(base)(base.__name__, (base,), {"__module__": tables.__module__, "Meta": options})
