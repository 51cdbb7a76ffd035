"""The tables of payments: payments, webhook events, discrepancies, and the saga messages."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

import sagas.models
from payments.gateways.simulated.ledger import SimulatedCharge, SimulatedIntent
from sagas.ids import uuid7

__all__ = [
    "Drift",
    "Hold",
    "Inbox",
    "Outbox",
    "Payment",
    "Reconciliation",
    "SimulatedCharge",
    "SimulatedIntent",
    "Watermark",
    "WebhookEvent",
]


class Payment(models.Model):
    """The one charge of an order, as far as we know it. It commits before any gateway request.

    - pending → captured → refunded: charged at once.
    - pending → authorized → captured → refunded: authorized first.
    - pending or authorized → declined or void: nothing was captured, and nothing will be.
    - pending or authorized → refunded: the charge's answer was lost; the refund found the money.
    - void or declined → refunded: money came in after all, and was given back.

    Amounts are in minor units of `currency` (lower-case ISO 4217).
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        AUTHORIZED = "authorized"
        CAPTURED = "captured"
        DECLINED = "declined"
        REFUNDED = "refunded"
        VOID = "void"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    order_id = models.UUIDField(unique=True)
    status = models.CharField(
        max_length=10, choices=Status.choices, default=Status.PENDING, db_default=Status.PENDING
    )
    amount = models.BigIntegerField(help_text="Minor units.")
    refunded_amount = models.BigIntegerField(default=0, db_default=0, help_text="Minor units.")
    currency = models.CharField(max_length=3)
    payment_method = models.CharField(
        max_length=100, help_text="The gateway's id of the payment method, never card data."
    )
    charge_id = models.CharField(  # noqa: DJ001
        max_length=255, unique=True, null=True, help_text="The gateway's id of the charge."
    )
    charge_key = models.CharField(
        max_length=255, unique=True, help_text="The idempotency key of the charge."
    )
    refund_key = models.CharField(
        max_length=255, unique=True, help_text="The idempotency key of the refund."
    )
    decline_code = models.CharField(max_length=100, blank=True, default="", db_default="")
    gateway = models.CharField(
        max_length=20,
        blank=True,
        default="",
        db_default="",
        help_text="The gateway that the payment was opened with and stays with. "
        "Empty for payments of a release that did not store it.",
    )
    authorization_expires_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="The authorized amount can be captured until this time.",
    )
    refund_reference = models.CharField(
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text="The gateway's id of a refund that a person made.",
    )
    action_expires_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="Deadline for the customer to confirm the payment, if confirmation is required.",
    )
    follow_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="When the gateway is queried again, although the payment has ended.",
    )
    follow_attempts = models.IntegerField(default=0, db_default=0, editable=False)
    follow_error = models.TextField(blank=True, default="", db_default="", editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = (
            models.Index(
                fields=("follow_at",),
                condition=Q(follow_at__isnull=False),
                name="payments_payment_follow",
            ),
            models.Index(fields=("status", "-id"), name="payments_payment_status"),
            models.Index(
                fields=("authorization_expires_at",),
                condition=Q(status="authorized"),
                name="payments_payment_expiring",
            ),
        )
        constraints = (
            models.CheckConstraint(condition=Q(amount__gt=0), name="payments_amount_positive"),
            models.CheckConstraint(
                condition=Q(
                    status__in=("pending", "authorized", "captured", "declined", "refunded", "void")
                ),
                name="payments_status_known",
            ),
            models.CheckConstraint(
                condition=Q(refunded_amount__gte=0, refunded_amount__lte=F("amount")),
                name="payments_refunded_at_most_captured",
            ),
            models.CheckConstraint(
                condition=Q(refunded_amount=0) | Q(status="refunded"),
                name="payments_refunded_only_if_captured",
            ),
            models.CheckConstraint(
                condition=Q(status__in=("captured", "refunded"), charge_id__isnull=False)
                | Q(
                    status__in=("pending", "authorized", "declined", "void"), charge_id__isnull=True
                ),
                name="payments_charge_id_if_captured",
            ),
            models.CheckConstraint(
                condition=~Q(status="authorized") | Q(authorization_expires_at__isnull=False),
                name="payments_authorized_until_when",
            ),
        )

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} {self.status}"


class WebhookEvent(models.Model):
    """A webhook event and its effect. The row stores ids only, none of the event's other contents.

    It commits with the effect, so a repeated event has no second effect.
    """

    class Effect(models.TextChoices):
        WOKE = "woke", "woke the waiting step"
        FOLLOWED = "followed", "has the gateway queried once more"
        NOTED = "noted", "nothing to do"
        UNKNOWN = "unknown", "of an unknown order"

    id = models.CharField(
        primary_key=True, max_length=255, help_text="The gateway's id of the event."
    )
    type = models.CharField(max_length=255)
    object_id = models.CharField(
        max_length=255, blank=True, help_text="The gateway's id of an intent, a charge or a refund."
    )
    order_id = models.UUIDField(null=True)
    effect = models.CharField(
        max_length=8, choices=Effect.choices, default=Effect.NOTED, db_default=Effect.NOTED
    )
    happened_at = models.DateTimeField(help_text="Time of the gateway.")
    received_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = (
            models.Index(fields=("order_id",), name="payments_webhook_order"),
            models.Index(fields=("object_id",), name="payments_webhook_object"),
            models.Index(fields=("received_at",), name="payments_webhook_received"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(effect__in=("woke", "followed", "noted", "unknown")),
                name="payments_webhook_effect",
            ),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


class Drift(models.Model):
    """A discrepancy between the gateway's statement and our payments.

    It stays open until a person closes it with a reason.
    """

    class Kind(models.TextChoices):
        CHARGED_UNKNOWN = "charged_unknown", "charged at the gateway, unknown here"
        UNCHARGED = "uncharged", "charged here, unknown at the gateway"
        AMOUNT = "amount", "amounts differ"
        REFUNDED_OUTSIDE = "refunded_outside", "refunded at the gateway, not by us"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    reference = models.CharField(
        max_length=255, help_text="The gateway's id of the charge or the refund."
    )
    order_id = models.UUIDField(null=True)
    ours = models.BigIntegerField(help_text="The amount in our payments, in minor units.")
    theirs = models.BigIntegerField(
        help_text="The amount in the gateway's statement, in minor units."
    )
    currency = models.CharField(max_length=3)
    first_seen_at = models.DateTimeField(db_default=Now(), editable=False)
    last_seen_at = models.DateTimeField(db_default=Now(), editable=False)
    closed_at = models.DateTimeField(null=True, editable=False)
    closed_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    closed_why = models.TextField(blank=True, default="", verbose_name="why it can be closed")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("kind", "reference"), name="payments_drift_once"),
            models.CheckConstraint(
                condition=Q(
                    kind__in=("charged_unknown", "uncharged", "amount", "refunded_outside")
                ),
                name="payments_drift_kind",
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True, closed_by="")
                | (Q(closed_at__isnull=False) & ~Q(closed_by="") & ~Q(closed_why="")),
                name="payments_drift_closed_by_whom_and_why",
            ),
        )
        indexes = (
            models.Index(fields=("id",), condition=Q(closed_at=None), name="payments_drift_open"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"


class Reconciliation(models.Model):
    """One comparison of the gateway's statement with our payments. Windows follow each other."""

    id = models.BigAutoField(primary_key=True)
    since = models.DateTimeField()
    until = models.DateTimeField()
    movements = models.IntegerField(help_text="Captures and refunds in the statement.")
    drifts = models.IntegerField(help_text="Number of differences, including known ones.")
    finished_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return f"{self.since} to {self.until}"


class Outbox(sagas.models.Outbox):
    """The outgoing messages of payments."""

    class Meta(sagas.models.Outbox.Meta):
        abstract = False
        db_table = "payments_outbox"


class Inbox(sagas.models.Inbox):
    """The steps that payments was sent, and their state."""

    class Meta(sagas.models.Inbox.Meta):
        abstract = False
        db_table = "payments_inbox"


class Hold(sagas.models.Hold):
    """The sagas and steps of payments that operators have put on hold."""

    class Meta(sagas.models.Hold.Meta):
        abstract = False
        db_table = "payments_hold"


class Watermark(sagas.models.Watermark):
    """The point up to which payments has purged ended sagas."""

    class Meta(sagas.models.Watermark.Meta):
        abstract = False
        db_table = "payments_watermark"
