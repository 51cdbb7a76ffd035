"""Free products: FREE_PRODUCTS allows a price of 0."""

from django.conf import settings

__all__ = ["NOT_ALLOWED", "least_amount"]

NOT_ALLOWED = "A price of 0 needs the setting FREE_PRODUCTS."


def least_amount() -> int:
    """Return the least price of a product and amount of an order, in minor units: 0 or 1."""
    return 0 if settings.FREE_PRODUCTS else 1
