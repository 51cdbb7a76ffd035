"""The tables of payments: payments, webhook events, discrepancies, and the saga messages."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now

import sagas.models
from payments.gateways.simulated.ledger import SimulatedCharge, SimulatedIntent
from sagas.ids import uuid7

__all__ = [
    "CallLimit",
    "Dispute",
    "Drift",
    "Hold",
    "Inbox",
    "Outbox",
    "PartialRefund",
    "Payment",
    "Reconciliation",
    "SimulatedCharge",
    "SimulatedIntent",
    "StepFault",
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
    - refunded → captured: the refund failed later; `owed_amount` is to be given back again.

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
    captured_amount = models.BigIntegerField(
        null=True,
        help_text="The amount that the gateway captured, in minor units. "
        "Empty before a capture; in payments of older releases also after the capture of the whole "
        "amount.",
    )
    refunded_amount = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text="The sum of all succeeded refunds of the charge, in minor units.",
    )
    owed_amount = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text="The amount that the customer is to get back and has not, although the order has "
        "ended, in minor units.",
    )
    paid_otherwise_amount = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text="The owed amount that a person has paid to the customer outside of the gateway, "
        "in minor units. The gateway still has it.",
    )
    disputed_amount = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text="The amount that open and lost disputes have withdrawn, in minor units.",
    )
    dispute_status = models.CharField(
        max_length=4,
        choices=[("open", "open"), ("won", "won"), ("lost", "lost")],
        blank=True,
        default="",
        db_default="",
        help_text="The state of the payment's disputes; open if any of them is open.",
    )
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
        max_length=255,
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
        help_text="The gateway's id of a refund that a person made, or the reference of a "
        "payment in another way.",
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
    balance_due_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="When the gateway is asked for the balance of a charge that is not to be undone.",
    )
    follow_attempts = models.IntegerField(default=0, db_default=0, editable=False)
    follow_error = models.TextField(blank=True, default="", db_default="", editable=False)
    expected_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="When the gateway's decision is due at the latest, while it is still processing.",
    )
    expected_step = models.CharField(
        max_length=100,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The step that waits for the gateway's decision.",
    )
    saga_started_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="When the order's saga started. No request has used the payment's keys before.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = (
            models.Index(
                fields=("id",),
                condition=Q(owed_amount__gt=0),
                name="payments_payment_owed",
            ),
            models.Index(
                fields=("id",),
                condition=Q(dispute_status="open"),
                name="payments_payment_disputed",
            ),
            models.Index(
                fields=("id",),
                condition=Q(disputed_amount__gt=0),
                name="payments_payment_withdrawn",
            ),
            models.Index(
                fields=("follow_at",),
                condition=Q(follow_at__isnull=False),
                name="payments_payment_follow",
            ),
            models.Index(
                fields=("balance_due_at",),
                condition=Q(balance_due_at__isnull=False),
                name="payments_payment_balance",
            ),
            models.Index(fields=("status", "-id"), name="payments_payment_status"),
            models.Index(
                fields=("created_at",),
                condition=Q(charge_id__isnull=False),
                name="payments_payment_created",
            ),
            models.Index(fields=("gateway", "updated_at"), name="payments_payment_updated"),
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
                condition=Q(
                    refunded_amount__gte=0,
                    refunded_amount__lte=Coalesce("captured_amount", "amount"),
                ),
                name="payments_refunded_at_most_captured",
            ),
            models.CheckConstraint(
                condition=Q(refunded_amount=0, owed_amount=0, disputed_amount=0)
                | Q(status__in=("captured", "refunded")),
                name="payments_refunded_only_if_captured",
            ),
            models.CheckConstraint(
                condition=Q(owed_amount=0) | Q(owed_amount__gt=0, status="captured"),
                name="payments_owed_only_if_captured",
            ),
            models.CheckConstraint(
                condition=Q(dispute_status__in=("", "open", "won", "lost"), disputed_amount__gte=0),
                name="payments_dispute_known",
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

    @property
    def captured(self) -> int:
        """The captured amount in minor units; 0 if nothing was captured."""
        if self.charge_id is None:
            return 0
        return self.amount if self.captured_amount is None else self.captured_amount

    @property
    def opened_at(self) -> datetime:
        """The time before which no request has used the payment's keys.

        A row that was made again after a restore is younger than its keys, so the saga's own start
        counts.
        """
        return min(self.saga_started_at or self.created_at, self.created_at)


class Dispute(models.Model):
    """A customer's dispute of a payment, as the gateway last reported it."""

    class Status(models.TextChoices):
        OPEN = "open"
        WON = "won"
        LOST = "lost"

    id = models.CharField(
        primary_key=True, max_length=255, help_text="The gateway's id of the dispute."
    )
    order_id = models.UUIDField(db_index=True)
    charge_id = models.CharField(max_length=255, help_text="The gateway's id of the charge.")
    amount = models.BigIntegerField(help_text="The withdrawn amount, in minor units.")
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=4, choices=Status.choices)
    reason = models.CharField(max_length=255, help_text="The reason, in the gateway's words.")
    opened_at = models.DateTimeField(help_text="Time of the gateway.")
    respond_by = models.DateTimeField(
        null=True, help_text="Until when evidence may be sent to the gateway."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = (
            models.Index(
                fields=("opened_at",), condition=Q(status="open"), name="payments_dispute_open"
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(status__in=("open", "won", "lost")), name="payments_dispute_status"
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="payments_dispute_amount"),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.status}"


class PartialRefund(models.Model):
    """A refund of a part of a payment, for one saga, such as a return. It commits before any
    request.

    - pending → succeeded: the part is given back, or nothing is left of the charge.
    - succeeded → failed: the refund failed at the bank after the saga had gone on. The amount that
      is not back is owed.
    - failed → succeeded: another refund is through, or a person has paid in another way.

    Amounts are in minor units of `currency`.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    id = models.UUIDField(
        primary_key=True, editable=False, help_text="The id of the saga that asked for the refund."
    )
    order_id = models.UUIDField(db_index=True)
    asked_amount = models.BigIntegerField(
        help_text="The amount that the saga asked for, in minor units."
    )
    amount = models.BigIntegerField(
        help_text="The amount to give back, in minor units: the asked amount, or the part of it "
        "that the partial refunds before have left of the charge."
    )
    refunded_amount = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text="The sum of the succeeded refunds under the key, in minor units.",
    )
    covered_amount = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text="The part of the amount that the customer has by other refunds or lost disputes "
        "of the charge, or from a person, in minor units.",
    )
    currency = models.CharField(max_length=3)
    status = models.CharField(
        max_length=9, choices=Status.choices, default=Status.PENDING, db_default=Status.PENDING
    )
    key = models.CharField(
        max_length=255, unique=True, help_text="The idempotency key of the refund."
    )
    key_number = models.IntegerField(
        default=1,
        db_default=1,
        editable=False,
        help_text="The number of the next key. A key under which the gateway keeps an error has a "
        "successor.",
    )
    refund_id = models.CharField(
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text="The gateway's id of the refund.",
    )
    reference = models.CharField(
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text="The reference of a refund that a person made, at the gateway or in another way.",
    )
    expected_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="When the gateway's decision is due at the latest, while it is not decided.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = (
            models.Index(
                fields=("id",), condition=Q(status="failed"), name="payments_partialrefund_owed"
            ),
            models.Index(
                fields=("id",), condition=Q(status="pending"), name="payments_partialrefund_open"
            ),
            models.Index(fields=("updated_at",), name="payments_partialrefund_updated"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(asked_amount__gt=0, amount__gte=0, amount__lte=F("asked_amount")),
                name="payments_partialrefund_amount",
            ),
            models.CheckConstraint(
                condition=Q(
                    refunded_amount__gte=0,
                    covered_amount__gte=0,
                    refunded_amount__lte=F("amount") - F("covered_amount"),
                ),
                name="payments_partialrefund_refunded",
            ),
            models.CheckConstraint(
                condition=Q(status__in=("pending", "succeeded", "failed")),
                name="payments_partialrefund_status",
            ),
        )

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} {self.status}"

    @property
    def missing(self) -> int:
        """The amount that the customer does not have back yet, in minor units."""
        return self.amount - self.refunded_amount - self.covered_amount


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
        verbose_name = "difference"
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
            models.Index(
                fields=("closed_at",),
                condition=Q(closed_at__isnull=False),
                name="payments_drift_closed",
            ),
        )

    def __str__(self) -> str:
        return f"{self.Kind(self.kind).label}: {self.reference}"


class Reconciliation(models.Model):
    """One comparison of a gateway's statement with our payments. Scheduled windows follow each
    other, and overlap.

    A window is compared in parts. Each part commits with its differences and the cursor
    `compared_until`, so a later task continues there.
    """

    id = models.BigAutoField(primary_key=True)
    gateway = models.CharField(
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text="The gateway's name. Empty in rows of older releases: the configured gateway.",
    )
    scheduled = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Whether beat started it. A window of the command is not continued by beat.",
    )
    since = models.DateTimeField()
    until = models.DateTimeField()
    compared_until = models.DateTimeField(
        null=True,
        editable=False,
        help_text="The window is compared up to this time. Empty in rows of older releases.",
    )
    movements = models.IntegerField(help_text="Movements of money in the statement.")
    drifts = models.IntegerField(help_text="Number of differences, including known ones.")
    part_seconds = models.FloatField(
        default=600.0,
        db_default=600.0,
        editable=False,
        help_text="The length of the next part of the window.",
    )
    error = models.TextField(
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="Why the last part could not be compared. It is compared again.",
    )
    leased_until = models.DateTimeField(
        null=True, editable=False, help_text="A worker compares the window until then."
    )
    finished_at = models.DateTimeField(null=True, db_default=Now(), editable=False)

    class Meta:
        indexes = (models.Index(fields=("finished_at",), name="payments_reconciliation_ended"),)
        constraints = (
            models.UniqueConstraint(
                fields=("gateway",),
                condition=Q(finished_at=None, scheduled=True),
                name="payments_reconciliation_one_open",
            ),
        )

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


class StepFault(sagas.models.StepFault):
    """The sagas for which a step of payments failed, and the errors."""

    class Meta(sagas.models.StepFault.Meta):
        abstract = False
        db_table = "payments_stepfault"


class CallLimit(sagas.models.CallLimit):
    """The limits of the calls of payments to outside systems, and the calls under way."""

    class Meta(sagas.models.CallLimit.Meta):
        abstract = False
        db_table = "payments_calllimit"


class Watermark(sagas.models.Watermark):
    """The point up to which payments has purged ended sagas."""

    class Meta(sagas.models.Watermark.Meta):
        abstract = False
        db_table = "payments_watermark"
