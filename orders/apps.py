"""The orders app."""

from django.apps import AppConfig

__all__ = ["OrdersConfig"]


class OrdersConfig(AppConfig):
    """Orders, in the default database."""

    name = "orders"

    def ready(self) -> None:
        """Register the check of ORDER_SAGA, the kind of orders, and the actions of staff."""
        from orders import checks, kind, staff_actions  # noqa: F401, PLC0415  (as it says)
