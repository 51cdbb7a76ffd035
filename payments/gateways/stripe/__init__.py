"""Stripe, through its own client library."""

from payments.gateways.stripe.gateway import StripeGateway

__all__ = ["StripeGateway"]
