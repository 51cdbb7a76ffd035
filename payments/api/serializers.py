"""What staff see of a payment."""

from rest_framework import serializers

from payments.models import Payment

__all__ = ["PaymentSerializer"]


class PaymentSerializer(serializers.ModelSerializer[Payment]):
    """A payment. Amounts are in minor units of `currency`; `charge_id` is null until something was captured."""

    class Meta:
        model = Payment
        fields = ("id", "order_id", "status", "amount", "refunded_amount", "currency", "charge_id", "created_at")
        read_only_fields = fields
