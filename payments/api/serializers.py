"""The representation of a payment for staff."""

from rest_framework import serializers

from payments.models import Payment

__all__ = ["STATUSES", "PaymentSerializer"]

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


class PaymentSerializer(serializers.ModelSerializer[Payment]):
    """A payment. Amounts are in minor units of `currency`. `charge_id` is null until a capture."""

    status = serializers.ChoiceField(choices=STATUSES, read_only=True)

    class Meta:
        model = Payment
        fields = (
            "id",
            "order_id",
            "status",
            "amount",
            "refunded_amount",
            "currency",
            "charge_id",
            "created_at",
        )
        read_only_fields = fields
