"""The tables of orders: catalogue, orders, stored answers and messages."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.functional import cached_property

import sagas.models
from api.resources.models import IdempotencyRecord
from orders import next_action_projection, status_projection
from orders.status import Status
from sagas.ids import uuid7

__all__ = [
    "CURRENCY_PATTERN",
    "MAX_AMOUNT",
    "MAX_QUANTITY",
    "SKU_LENGTH",
    "SKU_PATTERN",
    "CallLimit",
    "Hold",
    "IdempotencyKey",
    "Inbox",
    "Order",
    "OrderLine",
    "Outbox",
    "Product",
    "StepFault",
    "TimelineEvent",
    "Watermark",
]

# The largest integer that every JSON reader keeps exactly: RFC 8259, section 6.
MAX_AMOUNT = 2**53 - 1
MAX_QUANTITY = 10_000

# A SKU is part of URLs, so it contains no character that needs escaping, and no final newline.
SKU_LENGTH = 64
SKU_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*(?!\n)$"
CURRENCY_PATTERN = r"^[a-z]{3}(?!\n)$"


class Product(models.Model):
    """A product and its price. An order keeps its own copy of the price."""

    sku = models.CharField(
        max_length=SKU_LENGTH, unique=True, validators=[RegexValidator(SKU_PATTERN)]
    )
    name = models.CharField(max_length=200)
    unit_amount = models.BigIntegerField(
        validators=[MinValueValidator(0), MaxValueValidator(MAX_AMOUNT)],
        help_text="Minor units. 0 for a free product.",
    )
    currency = models.CharField(
        max_length=3,
        validators=[RegexValidator(CURRENCY_PATTERN)],
        help_text="ISO 4217, lower-case.",
    )
    active = models.BooleanField(
        default=True, db_default=True, help_text="Whether customers can order the product."
    )

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(sku__regex=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"), name="orders_product_sku"
            ),
            models.CheckConstraint(
                condition=Q(unit_amount__gte=0, unit_amount__lte=MAX_AMOUNT),
                name="orders_product_amount",
            ),
            models.CheckConstraint(
                condition=Q(currency__regex=r"^[a-z]{3}$"), name="orders_product_currency"
            ),
        )

    def __str__(self) -> str:
        return self.sku


class Order(sagas.models.TrackedSaga):
    """An order and the state of its saga. Its id is the saga's id. See `orders.status`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, db_index=False, related_name="orders"
    )
    status = models.CharField(
        max_length=10, choices=Status.choices, default=Status.PENDING, db_default=Status.PENDING
    )
    amount = models.BigIntegerField(help_text="Minor units. 0 for a free order.")
    currency = models.CharField(max_length=3)
    payment_method = models.CharField(
        max_length=100,
        help_text="The gateway's id of the payment method, never card data. A free order may have "
        "none.",
    )
    # Without a length, because a long reason from another service must not block a cancel.
    failure_code = models.CharField(blank=True, default="", db_default="")
    failure_detail = models.CharField(blank=True, default="", db_default="")
    action = models.JSONField(
        null=True,
        help_text="The action that the customer must take for the payment, and its deadline.",
    )
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta(sagas.models.TrackedSaga.Meta):
        abstract = False
        constraints = (
            models.CheckConstraint(
                condition=Q(status__in=Status.values), name="orders_status_known"
            ),
            models.CheckConstraint(
                condition=Q(amount__gte=0, amount__lte=MAX_AMOUNT), name="orders_amount_bounded"
            ),
            models.CheckConstraint(
                condition=Q(currency__regex=r"^[a-z]{3}$"), name="orders_currency"
            ),
            models.CheckConstraint(
                condition=~Q(status=Status.CANCELLED)
                | (Q(ended_at__isnull=False) & ~Q(failure_code="")),
                name="orders_cancelled_for_a_reason",
            ),
        )
        indexes = (  # type: ignore[assignment]
            *sagas.models.TrackedSaga.Meta.indexes,
            models.Index(fields=("user", "-id"), name="orders_order_of_user"),
            models.Index(
                fields=("id",), condition=Q(needs_attention=True), name="orders_order_attention"
            ),
            # For the scheduled audit. The update that ends an order writes to all indexes anyway.
            models.Index(
                fields=("ended_at", "id"),
                condition=Q(ended_at__isnull=False),
                name="orders_order_ended",
            ),
            # On a column that no other step changes: with the status in an index, PostgreSQL would
            # write every change of the status to all indexes.
            models.Index(fields=("id",), condition=~Q(failure_code=""), name="orders_order_failed"),
            models.Index(
                fields=("user", "-id"),
                condition=~Q(failure_code=""),
                name="orders_order_failed_of_user",
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.status}"

    @cached_property
    def placed_lines(self) -> "list[OrderLine]":
        """The lines. They are read once, because they never change."""
        return list(self.lines.all())

    @classmethod
    def apply_events(cls, events: Sequence[Any]) -> None:
        """Update the status and the customer's action from new timeline events."""
        status_projection.apply(events)
        next_action_projection.apply(events)

    @property
    def next_action(self) -> dict[str, Any] | None:
        """The customer's required action for the payment.

        None once the order is not pending, or once the time for the action is over.
        """
        if self.status != Status.PENDING:
            return None
        return next_action_projection.due_action(self.action, timezone.now())


class OrderLine(models.Model):
    """The pieces of one SKU, at the price of the time of the order."""

    order = models.ForeignKey(Order, models.CASCADE, db_index=False, related_name="lines")
    sku = models.CharField(max_length=SKU_LENGTH)
    quantity = models.IntegerField()
    unit_amount = models.BigIntegerField(help_text="Minor units of the order's currency.")

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=("order", "sku"), name="orders_line_once"),
            models.CheckConstraint(
                condition=Q(quantity__gte=1, quantity__lte=MAX_QUANTITY),
                name="orders_line_quantity",
            ),
            models.CheckConstraint(
                condition=Q(unit_amount__gte=0, unit_amount__lte=MAX_AMOUNT),
                name="orders_line_amount",
            ),
        )

    def __str__(self) -> str:
        return f"{self.quantity} × {self.sku}"


class IdempotencyKey(IdempotencyRecord):
    """The stored answer to a client's key: repeating the request places no second order."""

    resource = "order"

    saga = None  # type: ignore[assignment]
    order = models.ForeignKey(Order, models.CASCADE, db_index=False, related_name="+")

    class Meta(IdempotencyRecord.Meta):
        abstract = False


class TimelineEvent(sagas.models.TimelineEvent):
    """An event of an order, from any service."""

    class Meta(sagas.models.TimelineEvent.Meta):
        abstract = False
        db_table = "orders_timelineevent"


class Outbox(sagas.models.Outbox):
    """The outbox of orders."""

    class Meta(sagas.models.Outbox.Meta):
        abstract = False
        db_table = "orders_outbox"


class Inbox(sagas.models.Inbox):
    """The inbox of orders: the state of each of its steps."""

    class Meta(sagas.models.Inbox.Meta):
        abstract = False
        db_table = "orders_inbox"


class Hold(sagas.models.Hold):
    """The sagas and steps that are on hold in orders."""

    class Meta(sagas.models.Hold.Meta):
        abstract = False
        db_table = "orders_hold"


class StepFault(sagas.models.StepFault):
    """The sagas for which a step of orders failed, and the errors."""

    class Meta(sagas.models.StepFault.Meta):
        abstract = False
        db_table = "orders_stepfault"


class CallLimit(sagas.models.CallLimit):
    """The limits of the calls of orders to outside systems, and the calls under way."""

    class Meta(sagas.models.CallLimit.Meta):
        abstract = False
        db_table = "orders_calllimit"


class Watermark(sagas.models.Watermark):
    """The time up to which orders has purged ended sagas."""

    class Meta(sagas.models.Watermark.Meta):
        abstract = False
        db_table = "orders_watermark"
