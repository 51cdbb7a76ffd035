"""The representation of a payment for staff."""

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from payments.models import Payment
from payments.summaries import known_captured, known_owed

__all__ = ["DISPUTE_STATUSES", "STATUSES", "PaymentSerializer"]

Status = Payment.Status
# The meaning of each status, for the schema.
STATUSES = (
    (Status.PENDING.value, "the gateway's answer is not known yet"),
    (Status.AUTHORIZED.value, "the gateway holds the money on the customer's card"),
    (Status.CAPTURED.value, "the money was taken"),
    (Status.DECLINED.value, "the gateway refused"),
    (Status.REFUNDED.value, "the captured money was given back"),
    (Status.VOID.value, "nothing was captured, and nothing will be"),
)

DISPUTE_STATUSES = (
    ("open", "the gateway has not decided"),
    ("won", "the gateway has returned the money to us"),
    ("lost", "the customer keeps the money"),
)


class PaymentSerializer(serializers.ModelSerializer[Payment]):
    """A payment. Amounts are in minor units of `currency`. `charge_id` is null until a capture."""

    status = serializers.ChoiceField(choices=STATUSES, read_only=True)
    captured_amount = serializers.SerializerMethodField(
        help_text="The amount that the gateway captured; null while that is not known."
    )
    owed_amount = serializers.SerializerMethodField(
        help_text="The amount that the customer is to get back and has not, although the order "
        "has ended; null while that is not known."
    )
    paid_otherwise_amount = serializers.IntegerField(
        read_only=True,
        help_text="The amount that a person has paid to the customer outside of the gateway, "
        "because its refund could not succeed. The gateway keeps it.",
    )
    disputed_amount = serializers.IntegerField(
        read_only=True,
        help_text="The amount that open and lost disputes have withdrawn.",
    )
    dispute_status = serializers.SerializerMethodField(
        help_text="The state of the payment's disputes: `open` if any of them is open. Null if no "
        "dispute is known."
    )

    class Meta:
        model = Payment
        fields = (
            "id",
            "order_id",
            "status",
            "amount",
            "captured_amount",
            "refunded_amount",
            "owed_amount",
            "paid_otherwise_amount",
            "disputed_amount",
            "dispute_status",
            "currency",
            "charge_id",
            "created_at",
        )
        read_only_fields = fields

    def get_captured_amount(self, payment: Payment) -> int | None:
        """Return the captured amount."""
        return known_captured(payment)

    def get_owed_amount(self, payment: Payment) -> int | None:
        """Return the owed amount."""
        return known_owed(payment)

    @extend_schema_field(serializers.ChoiceField(choices=DISPUTE_STATUSES, allow_null=True))
    def get_dispute_status(self, payment: Payment) -> str | None:
        """Return the state of the disputes."""
        return payment.dispute_status or None
