"""Payments over REST, for staff. Nobody writes one here: they follow from orders."""

from typing import ClassVar

from rest_framework import generics

from api.auth.permissions import IsStaff
from payments.api import openapi
from payments.api.filters import PaymentFilters
from payments.api.serializers import PaymentSerializer
from payments.models import Payment

__all__ = ["PaymentView", "PaymentsView"]


@openapi.payments_view
class PaymentsView(generics.ListAPIView[Payment]):
    """All payments, the newest first."""

    serializer_class = PaymentSerializer
    permission_classes = (IsStaff,)
    filterset_class = PaymentFilters
    orderings: ClassVar = {"-created_at": ("-id",), "created_at": ("id",)}
    queryset = Payment.objects.all()


@openapi.payment_view
class PaymentView(generics.RetrieveAPIView[Payment]):
    """One payment."""

    serializer_class = PaymentSerializer
    permission_classes = (IsStaff,)
    queryset = Payment.objects.all()
