"""Operator runs, and the outcome for each of their sagas."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from sagas.definition.hold_scope import HoldScope
from sagas.ids import uuid7

__all__ = ["Run", "RunItem", "action_choices"]


def action_choices() -> list[tuple[str, str]]:
    """Return the name and label of every operator action.

    A callable, so that a new action needs no migration.
    """
    from console.bulk_actions.registry import all_actions  # noqa: PLC0415  it imports these models

    return [(action.name, action.label) for action in all_actions()]


class Run(models.Model):
    """One action on a frozen set of sagas.

    A draft becomes running, or first awaits approval, and then ends. A draft may also stay one.
    Nothing is done for a draft, or while another person has yet to approve. `step` and `reference`
    belong to actions on a step: the step itself, and evidence beside the reason. With a
    `destination`, the action is on the calls of the step to this outside system. `radius` is the
    impact that was confirmed.
    """

    class State(models.TextChoices):
        DRAFT = "draft", "draft"
        AWAITING = "awaiting", "awaiting approval"
        RUNNING = "running", "running"
        ENDED = "ended", "ended"
        DECLINED = "declined", "declined"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    action = models.CharField(max_length=20, choices=action_choices)
    step = models.CharField(max_length=100, blank=True, default="", db_default="")
    # As long as the name in a stored hold, so that every hold can be released.
    destination = models.TextField(blank=True, default="", db_default="")
    reference = models.CharField(max_length=255, blank=True, default="", db_default="")
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.DRAFT, db_default=State.DRAFT
    )
    via = models.CharField(
        max_length=10,
        default="console",
        db_default="console",
        help_text="Where it was requested: console, api or command.",
    )
    reason = models.TextField(blank=True, default="")
    radius = models.JSONField(default=dict, help_text="The impact that was confirmed.")
    over_limit = models.JSONField(
        null=True,
        help_text="The allowances of refunds that the run exceeds, so it needs a second person."
        " Null if it exceeds none.",
    )
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    confirmed_at = models.DateTimeField(null=True)
    decided_at = models.DateTimeField(
        null=True, help_text="When another person approved or declined it."
    )
    ended_at = models.DateTimeField(null=True)

    class Meta:
        permissions = (
            ("approve_run", "Can approve what another has requested"),
            ("pause_step", "Can put a step on hold for all sagas"),
            ("hold_step", "Can release a step that is on hold for all sagas"),
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
            models.Index(
                fields=("requested_by", "confirmed_at"),
                condition=Q(state__in=("running", "ended"), decided_by=None),
                name="console_run_allowance",
            ),
        )

    def __str__(self) -> str:
        return (
            f"{self.get_action_display()}: {self.scope}" if self.step else self.get_action_display()
        )

    @property
    def scope(self) -> HoldScope:
        """The step of the action, or its calls to the destination."""
        return HoldScope(self.step, self.destination)


class RunItem(models.Model):
    """One saga of a run, and its outcome. `order_id` is null where the run is about a step.

    A worker leases an item until `due_at` while it acts on it.
    """

    class State(models.TextChoices):
        PENDING = "pending", "pending"
        DONE = "done", "done"
        NOTHING = "nothing", "nothing to do"
        FAILED = "failed", "failed"

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, models.PROTECT, db_index=False, related_name="items")
    order_id = models.UUIDField(
        "saga", null=True, help_text="Null where the run is about a step of all sagas."
    )
    state = models.CharField(
        max_length=10, choices=State.choices, default=State.PENDING, db_default=State.PENDING
    )
    outcome = models.TextField(blank=True, default="", db_default="")
    attempts = models.IntegerField(default=0, db_default=0)
    due_at = models.DateTimeField(
        null=True,
        help_text="A worker may act on the item from this time on. Null before the run starts.",
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
        return f"{self.order_id or self.run.scope} {self.state}"
