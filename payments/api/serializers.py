"""What staff see of a payment."""

from rest_framework import serializers

from payments.models import Payment

__all__ = ["STATUSES", "PaymentSerializer"]

Status = Payment.Status
# What each status means, for the schema.
STATUSES = (
    (Status.PENDING.value, "the gateway is asked, or its answer is not known yet"),
    (Status.AUTHORIZED.value, "the money is held for us, and not taken yet"),
    (Status.CAPTURED.value, "the money is captured"),
    (Status.DECLINED.value, "the gateway has refused"),
    (Status.REFUNDED.value, "what was captured is given back"),
    (Status.VOID.value, "nothing was captured, and nothing will be"),
)


class PaymentSerializer(serializers.ModelSerializer[Payment]):
    """A payment. Amounts are in minor units of `currency`; `charge_id` is null until something
    was captured.
    """

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
