"""Amounts as people read them."""

from payments.gateways.currencies import with_currency

__all__ = ["format_money"]


def format_money(amount: int, currency: str) -> str:
    """Format an amount in minor units of its currency (ISO 4217): `12.50 EUR`."""
    return with_currency(amount, currency)
