"""The inventory app."""

from django.apps import AppConfig

__all__ = ["InventoryConfig"]


class InventoryConfig(AppConfig):
    """Stock, in a database of its own."""

    name = "inventory"
