"""The tables of inventory: stock items, reservations, adjustments and messages."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

import sagas.models

__all__ = [
    "SKU_LENGTH",
    "CallLimit",
    "Hold",
    "Inbox",
    "Outbox",
    "Reservation",
    "StepFault",
    "StockAdjustment",
    "StockItem",
    "StockReturn",
    "Watermark",
]

SKU_LENGTH = 64


class StockItem(models.Model):
    """The pieces of one SKU. Each is in exactly one place: on hand, reserved, or with a customer.

    `on_hand` counts pieces that are not reserved: a reservation moves pieces out of it. So
    `available` equals `on_hand`. `shipped` counts all pieces that ever left the warehouse, and
    `returned` those of them that came back. So on hand + reserved + shipped - returned is the sum
    of all adjustments: a returned piece is on hand again, or an adjustment writes it off. The
    warehouse contains on hand + reserved. Taking out more than is on hand would remove reserved
    pieces.
    """

    sku = models.CharField(max_length=SKU_LENGTH, unique=True)
    on_hand = models.BigIntegerField(default=0, db_default=0)
    reserved = models.BigIntegerField(default=0, db_default=0)
    shipped = models.BigIntegerField(default=0, db_default=0)
    returned = models.BigIntegerField(
        default=0, db_default=0, help_text="The shipped pieces that came back."
    )

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(on_hand__gte=0), name="inventory_on_hand_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(reserved__gte=0), name="inventory_reserved_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(shipped__gte=0), name="inventory_shipped_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(returned__gte=0, returned__lte=F("shipped")),
                name="inventory_stock_returned",
            ),
        )

    def __str__(self) -> str:
        return self.sku

    @property
    def available(self) -> int:
        """The pieces that a new order can reserve."""
        return self.on_hand


class Reservation(models.Model):
    """The pieces of one SKU for one order: held → shipped, or held → released, both final."""

    class State(models.TextChoices):
        HELD = "held"
        SHIPPED = "shipped"
        RELEASED = "released"

    order_id = models.UUIDField()
    item = models.ForeignKey(
        StockItem,
        models.PROTECT,
        to_field="sku",
        db_column="sku",
        db_index=False,
        related_name="reservations",
    )
    quantity = models.IntegerField()
    state = models.CharField(
        max_length=8, choices=State.choices, default=State.HELD, db_default=State.HELD
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("order_id", "item"), name="inventory_reservation_once"),
            models.CheckConstraint(
                condition=Q(quantity__gt=0), name="inventory_reservation_of_something"
            ),
            models.CheckConstraint(
                condition=Q(state__in=("held", "shipped", "released")),
                name="inventory_reservation_state",
            ),
        )
        indexes = (
            models.Index(
                fields=("item",), condition=Q(state="held"), name="inventory_reservation_held"
            ),
        )

    def __str__(self) -> str:
        return f"{self.quantity} of {self.item_id} {self.state}"


class StockAdjustment(models.Model):
    """Pieces received, lost, found or written off. Never deleted: their sum is the stock."""

    item = models.ForeignKey(
        StockItem,
        models.PROTECT,
        to_field="sku",
        db_column="sku",
        db_index=False,
        related_name="adjustments",
    )
    quantity = models.IntegerField(help_text="Pieces added; negative for pieces taken out.")
    reason = models.CharField(max_length=200)
    by = models.CharField(
        max_length=150, editable=False, help_text="The user's name; users are in another database."
    )
    at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=~Q(quantity=0), name="inventory_adjustment_of_something"
            ),
        )
        indexes = (models.Index(fields=("item", "-id"), name="inventory_adjustment_of_item"),)

    def __str__(self) -> str:
        return f"{self.quantity:+d} of {self.item_id}: {self.reason}"


class StockReturn(models.Model):
    """The pieces of one SKU that came back with one return. Never changed, and never deleted.

    `restocked` pieces are on hand again. For `written_off` pieces there is a `StockAdjustment`.
    """

    return_id = models.UUIDField(help_text="The saga of the return.")
    order_id = models.UUIDField()
    item = models.ForeignKey(
        StockItem,
        models.PROTECT,
        to_field="sku",
        db_column="sku",
        db_index=False,
        related_name="returns",
    )
    restocked = models.IntegerField()
    written_off = models.IntegerField()
    at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("return_id", "item"), name="inventory_return_once"),
            models.CheckConstraint(
                condition=Q(restocked__gte=0, written_off__gte=0)
                & (Q(restocked__gt=0) | Q(written_off__gt=0)),
                name="inventory_return_of_something",
            ),
        )
        indexes = (
            models.Index(fields=("order_id",), name="inventory_return_of_order"),
            models.Index(fields=("item", "-id"), name="inventory_return_of_item"),
        )

    def __str__(self) -> str:
        return f"{self.restocked} + {self.written_off} of {self.item_id}"


class Outbox(sagas.models.Outbox):
    """The outbox of inventory."""

    class Meta(sagas.models.Outbox.Meta):
        abstract = False
        db_table = "inventory_outbox"


class Inbox(sagas.models.Inbox):
    """The inbox of inventory: the state of each of its steps."""

    class Meta(sagas.models.Inbox.Meta):
        abstract = False
        db_table = "inventory_inbox"


class Hold(sagas.models.Hold):
    """The sagas and steps that are on hold in inventory."""

    class Meta(sagas.models.Hold.Meta):
        abstract = False
        db_table = "inventory_hold"


class StepFault(sagas.models.StepFault):
    """The sagas for which a step of inventory failed, and the errors."""

    class Meta(sagas.models.StepFault.Meta):
        abstract = False
        db_table = "inventory_stepfault"


class CallLimit(sagas.models.CallLimit):
    """The limits of the calls of inventory to outside systems, and the calls under way."""

    class Meta(sagas.models.CallLimit.Meta):
        abstract = False
        db_table = "inventory_calllimit"


class Watermark(sagas.models.Watermark):
    """The time up to which inventory has purged ended sagas."""

    class Meta(sagas.models.Watermark.Meta):
        abstract = False
        db_table = "inventory_watermark"
