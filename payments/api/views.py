"""Payments over REST, for staff, read-only: only the order sagas change payments."""

from typing import ClassVar

from rest_framework import generics

from api.auth.permissions import AsStaffMay
from payments.api import openapi
from payments.api.filters import PaymentFilters
from payments.api.serializers import PaymentSerializer
from payments.models import Payment
from payments.summaries import with_owed_parts

__all__ = ["PaymentView", "PaymentsView"]

READ_PAYMENTS = "payments.view_payment"


@openapi.payments_view
class PaymentsView(generics.ListAPIView[Payment]):
    """All payments, newest first."""

    serializer_class = PaymentSerializer
    permission_classes = (AsStaffMay,)
    read_permission = READ_PAYMENTS
    filterset_class = PaymentFilters
    orderings: ClassVar = {"-created_at": ("-id",), "created_at": ("id",)}
    queryset = with_owed_parts(Payment.objects.all())


@openapi.payment_view
class PaymentView(generics.RetrieveAPIView[Payment]):
    """One payment."""

    serializer_class = PaymentSerializer
    permission_classes = (AsStaffMay,)
    read_permission = READ_PAYMENTS
    queryset = with_owed_parts(Payment.objects.all())
