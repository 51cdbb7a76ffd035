"""The URLs of payments, below /api/v1/."""

from django.urls import path

from payments.api.views import PaymentsView, PaymentView
from payments.api.webhooks import StripeWebhookView

__all__ = ["urlpatterns"]

urlpatterns = [
    path("payments/", PaymentsView.as_view(), name="payments"),
    path("payments/webhooks/stripe/", StripeWebhookView.as_view(), name="stripe-webhook"),
    path("payments/<uuid:pk>/", PaymentView.as_view(), name="payment"),
]
