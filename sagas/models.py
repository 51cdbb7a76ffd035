"""Abstract models for the tables of a service, and for the tables of a saga's home.

A service has an outbox, an inbox, holds and a watermark. A home also has tracked sagas and their
timeline. Each domain app derives its own models, so that the tables are in its database and under
its name in the admin. The engine writes the tables with set-based SQL (see `sagas.storage`).
"""

from collections.abc import Sequence
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from sagas.ids import uuid7

__all__ = ["Hold", "Inbox", "Outbox", "TimelineEvent", "TrackedSaga", "Watermark"]


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
    error = models.TextField(blank=True, default="")
    due_at = models.DateTimeField(
        db_default=Now(), help_text="From this time on, a worker may take over an open row."
    )
    send_at = models.DateTimeField(
        null=True, help_text="When the relay of the service sends an open row again."
    )
    message = models.JSONField(
        null=True, help_text="The message. It is kept while the row is open."
    )
    by_hand = models.JSONField(
        null=True, help_text="The person who marked the step as done, and the evidence."
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
                fields=("step", "id"), condition=Q(state="held"), name="%(app_label)s_inbox_held"
            ),
            BrinIndex(
                fields=("saga_started_at",), autosummarize=True, name="%(app_label)s_inbox_age"
            ),
        )

    def __str__(self) -> str:
        return f"{self.step} {self.state} {self.saga}"


class Hold(models.Model):
    """A hold on one saga at every step of this service, or on one step of all sagas.

    A saga's home also has a copy of every hold on a step. Redrive reads the copy; it stops nothing
    there.
    """

    id = models.BigAutoField(primary_key=True)
    saga = models.UUIDField(null=True, unique=True)
    # Null in a hold on a saga.
    step = models.CharField(max_length=100, null=True, unique=True)  # noqa: DJ001
    since = models.DateTimeField(db_default=Now())
    by = models.CharField(
        max_length=150, help_text="The name of the user, because users are in another database."
    )
    why = models.TextField()

    class Meta:
        abstract = True
        constraints = (
            models.CheckConstraint(
                condition=Q(saga=None, step__isnull=False) | Q(saga__isnull=False, step=None),
                name="%(app_label)s_hold_one_thing",
            ),
        )

    def __str__(self) -> str:
        return f"{self.saga or self.step} on hold"


class Watermark(models.Model):
    """Sagas that started before this time are purged, except the sagas in `kept`."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    before = models.DateTimeField()
    kept = ArrayField(models.UUIDField(), default=list)

    class Meta:
        abstract = True
        constraints = (
            models.CheckConstraint(condition=Q(id=1), name="%(app_label)s_watermark_single"),
        )

    def __str__(self) -> str:
        return f"before {self.before}"


class TrackedSaga(models.Model):
    """A saga at its home: its plan, its end, and the time at which it counts as stalled.

    `ended_at` does not follow from a status of the domain: an order is fulfilled at the pivot, but
    its saga goes on until the last step.
    """

    plan = models.JSONField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)
    rescue_at = models.DateTimeField(
        db_default=Now(),
        editable=False,
        help_text="The saga is re-driven if it makes no progress until then.",
    )
    redrives = models.IntegerField(default=0, editable=False)
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

    class Meta:
        abstract = True
        indexes = (
            models.Index(
                fields=("rescue_at",),
                condition=Q(ended_at=None),
                name="%(app_label)s_%(class)s_rescue",
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
