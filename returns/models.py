"""The tables of returns: returns, their lines, their orders, stored answers and messages."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.functional import cached_property

import sagas.models
from api.resources.models import IdempotencyRecord
from returns import status_projection
from returns.status import Kind, Status
from sagas.ids import uuid7

__all__ = [
    "MOST_REASON",
    "CallLimit",
    "Hold",
    "IdempotencyKey",
    "Inbox",
    "Outbox",
    "Return",
    "ReturnLine",
    "ReturnedOrder",
    "StepFault",
    "TimelineEvent",
    "Watermark",
]

SKU_LENGTH = 64
MOST_REASON = 500


class ReturnedOrder(models.Model):
    """An order with returns, and the amount that was charged for it.

    A transaction locks the row before it counts the pieces and the money that are left. So two
    returns of one order never take the same piece.
    """

    order_id = models.UUIDField(primary_key=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, db_index=False, related_name="+"
    )
    amount = models.BigIntegerField(help_text="The amount that was charged, in minor units.")
    currency = models.CharField(max_length=3)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(amount__gte=0), name="returns_order_amount_bounded"),
        )

    def __str__(self) -> str:
        return str(self.order_id)


class Return(sagas.models.TrackedSaga):
    """A return and the state of its saga. Its id is the saga's id. See `returns.status`.

    `amount` is the most that is refunded. Once the return is accepted, it is the refund itself. It
    is 0 if only free products come back.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    order = models.ForeignKey(ReturnedOrder, models.PROTECT, db_index=False, related_name="returns")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, db_index=False, related_name="returns"
    )
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.GOODS)
    status = models.CharField(
        max_length=17, choices=Status.choices, default=Status.REQUESTED, db_default=Status.REQUESTED
    )
    amount = models.BigIntegerField(help_text="Minor units.")
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=MOST_REASON, help_text="Why, in the person's own words.")
    given_by = models.CharField(
        max_length=150, blank=True, help_text="The person of staff who gives goodwill."
    )
    # Without a length, because a long reason from another service must not block a cancel.
    failure_code = models.CharField(blank=True, default="", db_default="")
    failure_detail = models.CharField(blank=True, default="", db_default="")
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta(sagas.models.TrackedSaga.Meta):
        abstract = False
        verbose_name = "return"
        verbose_name_plural = "returns"
        # For the actions of staff in staff.policy.
        permissions = (
            ("approve_return", "Can approve or refuse a return"),
            ("receive_return", "Can receive the goods of a return"),
            ("give_goodwill", "Can propose money out of goodwill"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(status__in=Status.values), name="returns_status_known"
            ),
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="returns_kind_known"),
            # Goods may have been free. Money out of goodwill is money.
            models.CheckConstraint(
                condition=Q(amount__gte=1) | Q(amount=0, kind=Kind.GOODS),
                name="returns_amount_bounded",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=("refused", "cancelled"))
                | (Q(ended_at__isnull=False) & ~Q(failure_code="")),
                name="returns_closed_for_a_reason",
            ),
        )
        indexes = (  # type: ignore[assignment]
            *sagas.models.TrackedSaga.Meta.indexes,
            models.Index(fields=("user", "-id"), name="returns_return_of_user"),
            models.Index(fields=("order", "-id"), name="returns_return_of_order"),
            models.Index(
                fields=("id",), condition=Q(needs_attention=True), name="returns_return_attention"
            ),
            models.Index(
                fields=("ended_at", "id"),
                condition=Q(ended_at__isnull=False),
                name="returns_return_ended",
            ),
            # Refused and cancelled returns, by a column that changes at most once.
            models.Index(
                fields=("id",), condition=~Q(failure_code=""), name="returns_return_failed"
            ),
            models.Index(
                fields=("user", "-id"),
                condition=~Q(failure_code=""),
                name="returns_return_failed_of_user",
            ),
            models.Index(
                fields=("id",), condition=Q(kind=Kind.GOODWILL), name="returns_return_goodwill"
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.status}"

    @cached_property
    def requested_lines(self) -> "list[ReturnLine]":
        """The lines, in the order of their ids."""
        return list(self.lines.all())

    @classmethod
    def apply_events(cls, events: Sequence[Any]) -> None:
        """Update the status from new timeline events."""
        status_projection.apply(events)


class ReturnLine(models.Model):
    """The pieces of one SKU, at the price that was charged.

    `received` and `resellable` are null until the goods have come back.
    """

    of_return = models.ForeignKey(
        Return, models.CASCADE, db_column="return_id", db_index=False, related_name="lines"
    )
    sku = models.CharField(max_length=SKU_LENGTH)
    quantity = models.IntegerField(help_text="The pieces that the customer wants to return.")
    unit_amount = models.BigIntegerField(help_text="Minor units, as charged.")
    received = models.IntegerField(null=True, help_text="The pieces that came back.")
    resellable = models.IntegerField(
        null=True, help_text="Those of them that go back to stock; the others are written off."
    )

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=("of_return", "sku"), name="returns_line_once"),
            models.CheckConstraint(condition=Q(quantity__gte=1), name="returns_line_quantity"),
            models.CheckConstraint(condition=Q(unit_amount__gte=0), name="returns_line_amount"),
            models.CheckConstraint(
                condition=Q(received=None, resellable=None)
                | Q(
                    received__gte=0,
                    received__lte=F("quantity"),
                    resellable__gte=0,
                    resellable__lte=F("received"),
                ),
                name="returns_line_received",
            ),
        )

    def __str__(self) -> str:
        return f"{self.quantity} × {self.sku}"


class IdempotencyKey(IdempotencyRecord):
    """The stored answer to a client's key: repeating the request makes no second return."""

    resource = "of_return"

    saga = None  # type: ignore[assignment]
    of_return = models.ForeignKey(
        Return, models.CASCADE, db_column="return_id", db_index=False, related_name="+"
    )

    class Meta(IdempotencyRecord.Meta):
        abstract = False


class TimelineEvent(sagas.models.TimelineEvent):
    """An event of a return, from any service."""

    class Meta(sagas.models.TimelineEvent.Meta):
        abstract = False
        db_table = "returns_timelineevent"


class Outbox(sagas.models.Outbox):
    """The outbox of returns."""

    class Meta(sagas.models.Outbox.Meta):
        abstract = False
        db_table = "returns_outbox"


class Inbox(sagas.models.Inbox):
    """The inbox of returns: the state of each of its steps."""

    class Meta(sagas.models.Inbox.Meta):
        abstract = False
        db_table = "returns_inbox"


class Hold(sagas.models.Hold):
    """The sagas and steps that are on hold in returns."""

    class Meta(sagas.models.Hold.Meta):
        abstract = False
        db_table = "returns_hold"


class StepFault(sagas.models.StepFault):
    """The sagas for which a step of returns failed, and the errors."""

    class Meta(sagas.models.StepFault.Meta):
        abstract = False
        db_table = "returns_stepfault"


class CallLimit(sagas.models.CallLimit):
    """The limits of the calls of returns to outside systems, and the calls under way."""

    class Meta(sagas.models.CallLimit.Meta):
        abstract = False
        db_table = "returns_calllimit"


class Watermark(sagas.models.Watermark):
    """The time up to which returns has purged ended sagas."""

    class Meta(sagas.models.Watermark.Meta):
        abstract = False
        db_table = "returns_watermark"
