"""The simulated gateway's tables: the state of each key, and the ledger of all movements of money.

They stand for an outside system's tables. Only the gateway writes them, in transactions of its own.
It knows nothing of payments, so it lets us charge an order twice under two keys. Only the audit
reads the ledger from outside.
"""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

__all__ = ["SimulatedCharge", "SimulatedDispute", "SimulatedIntent", "SimulatedRefund"]


class SimulatedIntent(models.Model):
    """The state of one idempotency key. `lost` is a request that never arrived.

    An `authorized` or `lost` key can change; the other states are final.
    """

    class State(models.TextChoices):
        AUTHORIZED = "authorized"
        CAPTURED = "captured"
        DECLINED = "declined"
        VOID = "void"
        LOST = "lost"

    key = models.CharField(primary_key=True, max_length=255)
    state = models.CharField(max_length=10, choices=State.choices)
    order_id = models.UUIDField()
    amount = models.BigIntegerField(help_text="Minor units.")
    captured_amount = models.BigIntegerField(
        null=True,
        help_text="The amount that a capture takes, in minor units. Empty for the whole amount.",
    )
    currency = models.CharField(max_length=3)
    payment_method = models.CharField(max_length=100)
    charge_id = models.CharField(max_length=255, unique=True)
    decline_code = models.CharField(max_length=100, blank=True, default="", db_default="")
    authorized_until = models.DateTimeField(
        null=True, help_text="The authorization expires at this time unless it is captured."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        app_label = "payments"
        constraints = (
            models.CheckConstraint(
                condition=Q(state__in=("authorized", "captured", "declined", "void", "lost")),
                name="payments_simulatedintent_state",
            ),
        )

    def __str__(self) -> str:
        return f"{self.key} {self.state}"


class SimulatedCharge(models.Model):
    """A movement of money: one line of the gateway's statement of account."""

    class Kind(models.TextChoices):
        CAPTURE = "capture"
        REFUND = "refund"
        DISPUTE = "dispute"
        DISPUTE_RETURN = "dispute_return"

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=14, choices=Kind.choices)
    key = models.CharField(max_length=255, unique=True)
    order_id = models.UUIDField(db_index=True)
    charge_id = models.CharField(
        max_length=255, db_index=True, help_text="The id of the charge whose money moved."
    )
    amount = models.BigIntegerField(help_text="Minor units.")
    currency = models.CharField(max_length=3)
    by_hand = models.BooleanField(
        default=False,
        db_default=False,
        help_text="A person moved the money at the gateway, so the statement names no order.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        app_label = "payments"
        constraints = (
            models.CheckConstraint(
                condition=Q(amount__gt=0), name="payments_simulatedcharge_amount"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=("capture", "refund", "dispute", "dispute_return")),
                name="payments_simulatedcharge_kind",
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.amount} {self.currency}"


class SimulatedRefund(models.Model):
    """A refund that has moved no money: it is pending, or it failed. Its key is used up.

    A refund that succeeds is a line of the ledger instead.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        FAILED = "failed"

    key = models.CharField(primary_key=True, max_length=255)
    state = models.CharField(max_length=7, choices=State.choices)
    order_id = models.UUIDField()
    charge_id = models.CharField(max_length=255, db_index=True)
    amount = models.BigIntegerField(help_text="Minor units.")
    currency = models.CharField(max_length=3)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        app_label = "payments"
        constraints = (
            models.CheckConstraint(
                condition=Q(state__in=("pending", "failed")), name="payments_simulatedrefund_state"
            ),
        )

    def __str__(self) -> str:
        return f"{self.key} {self.state}"


class SimulatedDispute(models.Model):
    """A customer's dispute of a charge. The ledger has its withdrawal, and its return if we win."""

    class Status(models.TextChoices):
        OPEN = "open"
        WON = "won"
        LOST = "lost"

    id = models.CharField(primary_key=True, max_length=255)
    status = models.CharField(max_length=4, choices=Status.choices, default=Status.OPEN)
    order_id = models.UUIDField()
    charge_id = models.CharField(max_length=255, db_index=True)
    amount = models.BigIntegerField(help_text="Minor units.")
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=100)
    opened_at = models.DateTimeField(db_default=Now(), editable=False)
    respond_by = models.DateTimeField(help_text="Until when evidence could be sent.")
    decided_at = models.DateTimeField(
        null=True, help_text="When the bank decides. Empty if only a person closes the dispute."
    )
    verdict = models.CharField(
        max_length=4,
        choices=[("won", "won"), ("lost", "lost")],
        blank=True,
        default="",
        db_default="",
        help_text="The bank's decision at that time.",
    )

    class Meta:
        app_label = "payments"
        indexes = (
            models.Index(
                fields=("decided_at",),
                condition=Q(status="open"),
                name="payments_simulateddispute_due",
            ),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(status__in=("open", "won", "lost")),
                name="payments_simulateddispute_stat",
            ),
            models.CheckConstraint(
                condition=Q(decided_at=None, verdict="")
                | Q(decided_at__isnull=False, verdict__in=("won", "lost")),
                name="payments_simulateddispute_when",
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.status}"
