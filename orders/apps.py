"""The orders app."""

from django.apps import AppConfig

__all__ = ["OrdersConfig"]


class OrdersConfig(AppConfig):
    """Orders, in the default database."""

    name = "orders"
