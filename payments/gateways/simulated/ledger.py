"""The simulated gateway's two tables: the state of each key, and the ledger of all movements.

They stand for an outside system's tables. Only the gateway writes them, in transactions of its own.
It knows nothing of payments, so it lets us charge an order twice under two keys. Only the audit
reads them from outside.
"""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

__all__ = ["SimulatedCharge", "SimulatedIntent"]


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
    """A capture or a refund: one line of the gateway's statement of account."""

    class Kind(models.TextChoices):
        CAPTURE = "capture"
        REFUND = "refund"

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=7, choices=Kind.choices)
    key = models.CharField(max_length=255, unique=True)
    order_id = models.UUIDField(db_index=True)
    charge_id = models.CharField(
        max_length=255, db_index=True, help_text="The id of the charge that was made or refunded."
    )
    amount = models.BigIntegerField(help_text="Minor units.")
    currency = models.CharField(max_length=3)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        app_label = "payments"
        constraints = (
            models.CheckConstraint(
                condition=Q(amount__gt=0), name="payments_simulatedcharge_amount"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=("capture", "refund")), name="payments_simulatedcharge_kind"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.amount} {self.currency}"
