"""The inventory app."""

from django.apps import AppConfig

__all__ = ["InventoryConfig"]


class InventoryConfig(AppConfig):
    """Stock, in a database of its own."""

    name = "inventory"

    def ready(self) -> None:
        """Register the action of staff."""
        from inventory import staff_actions  # noqa: F401, PLC0415  (its import registers it)
