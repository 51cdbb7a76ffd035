"""What operators did: a run of one action over a frozen set of orders, what came of each, and a
log that only grows.
"""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from sagas.ids import uuid7

__all__ = ["ON_ORDERS", "Action", "LogEntry", "Run", "RunItem"]


class Action(models.TextChoices):
    """What an operator may have done: to orders, to a step of one order, and to a step of all."""

    RETRY = "retry", "Try again now"
    PUBLISH = "publish", "Publish again"
    CANCEL = "cancel", "Cancel and undo"
    HOLD = "hold", "Put on hold"
    RELEASE = "release", "Release"
    BY_HAND = "by_hand", "Mark a step as done by hand"
    HOLD_STEP = "hold_step", "Put a step on hold for all"
    RELEASE_STEP = "release_step", "Release a step for all"


# Those that may be done to many orders at once.
ON_ORDERS = (Action.RETRY, Action.PUBLISH, Action.CANCEL, Action.HOLD, Action.RELEASE)


class Run(models.Model):
    """One action over some orders: draft → running → ended, for some by way of awaiting; a draft
    may stay one.

    The orders are frozen when the draft is made. Nothing is done for a draft, nor for one that
    awaits another person. `step` and `reference` are for the actions on a step: which it is, and
    what is given as evidence besides the reason.
    """

    class State(models.TextChoices):
        DRAFT = "draft", "draft"
        AWAITING = "awaiting", "awaiting approval"
        RUNNING = "running", "running"
        ENDED = "ended", "ended"
        DECLINED = "declined", "declined"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    action = models.CharField(max_length=20, choices=Action.choices)
    step = models.CharField(max_length=100, blank=True, default="", db_default="")
    reference = models.CharField(max_length=255, blank=True, default="", db_default="")
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.DRAFT, db_default=State.DRAFT
    )
    reason = models.TextField(blank=True, default="")
    radius = models.JSONField(
        default=dict, help_text="What it was about to do when it was confirmed."
    )
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    confirmed_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        permissions = (
            ("approve_run", "Can approve what another has requested"),
            ("hold_step", "Can put a step on hold for all orders, and release it"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(state__in=("draft", "awaiting", "running", "ended", "declined")),
                name="console_run_state",
            ),
            models.CheckConstraint(
                condition=Q(state="draft") | ~Q(reason=""), name="console_run_for_a_reason"
            ),
            models.CheckConstraint(
                condition=Q(decided_by=None) | ~Q(decided_by=models.F("requested_by")),
                name="console_run_four_eyes",
            ),
        )
        indexes = (
            models.Index(
                fields=("id",),
                condition=Q(state__in=("awaiting", "running")),
                name="console_run_open",
            ),
        )

    def __str__(self) -> str:
        return (
            f"{self.get_action_display()}: {self.step}" if self.step else self.get_action_display()
        )


class RunItem(models.Model):
    """One order of a run, or all of them in one, and what came of it. Whoever holds the lease
    (`due_at`) acts on it.
    """

    class State(models.TextChoices):
        PENDING = "pending", "pending"
        DONE = "done", "done"
        NOTHING = "nothing", "nothing to do"
        FAILED = "failed", "failed"

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, models.PROTECT, db_index=False, related_name="items")
    order_id = models.UUIDField(
        null=True, help_text="Null where the run is about a step of all orders."
    )
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.PENDING, db_default=State.PENDING
    )
    outcome = models.TextField(blank=True, default="", db_default="")
    attempts = models.IntegerField(default=0, db_default=0)
    due_at = models.DateTimeField(
        null=True, help_text="From then on anyone may act on it; null before the run runs."
    )
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("run", "order_id"), name="console_runitem_once"),
            models.CheckConstraint(
                condition=Q(state__in=("pending", "done", "nothing", "failed")),
                name="console_runitem_state",
            ),
        )
        indexes = (
            models.Index(
                fields=("due_at",),
                condition=Q(state="pending", due_at__isnull=False),
                name="console_runitem_due",
            ),
        )

    def __str__(self) -> str:
        return f"{self.order_id or self.run.step} {self.state}"


class LogEntry(models.Model):
    """Who did what, why, when, and what came of it. A trigger in the database refuses to change
    one, or to delete it within a year.

    It names people and runs by value, so that it says the same whatever becomes of them.
    """

    class What(models.TextChoices):
        REQUESTED = "requested", "requested"
        AWAITING = "awaiting", "asked for approval"
        APPROVED = "approved", "approved"
        DECLINED = "declined", "declined"
        ACTED = "acted", "acted"
        ENDED = "ended", "ended"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(db_default=Now(), editable=False)
    who = models.CharField(max_length=150)
    what = models.CharField(max_length=20, choices=What.choices)
    action = models.CharField(max_length=20, choices=Action.choices)
    step = models.CharField(max_length=100, blank=True, default="", db_default="")
    run = models.UUIDField()
    order_id = models.UUIDField(null=True, help_text="Null where it is about the run as a whole.")
    why = models.TextField(blank=True)
    outcome = models.TextField(blank=True)
    failure = models.CharField(
        max_length=16,
        blank=True,
        default="",
        db_default="",
        help_text="The key of what failed for the order then.",
    )
    about = models.TextField(
        blank=True, default="", db_default="", help_text="What failed, as all that fail so say."
    )

    class Meta:
        verbose_name_plural = "log"
        indexes = (
            models.Index(
                fields=("order_id", "id"),
                condition=Q(order_id__isnull=False),
                name="console_log_order",
            ),
            models.Index(fields=("run",), name="console_log_run"),
            models.Index(
                fields=("failure", "id"), condition=~Q(failure=""), name="console_log_failure"
            ),
            models.Index(fields=("who", "id"), name="console_log_who"),
        )

    def __str__(self) -> str:
        return f"{self.who} {self.what} {self.get_action_display()}"
