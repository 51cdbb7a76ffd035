"""The orders app."""

from django.apps import AppConfig

__all__ = ["OrdersConfig"]


class OrdersConfig(AppConfig):
    """Orders, in the default database."""

    name = "orders"

    def ready(self) -> None:
        """Register the check of ORDER_SAGA."""
        from orders import checks  # noqa: F401, PLC0415  (registering is its effect)
