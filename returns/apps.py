"""The returns app."""

from django.apps import AppConfig

__all__ = ["ReturnsConfig"]


class ReturnsConfig(AppConfig):
    """Returns, by default in the database of orders."""

    name = "returns"

    def ready(self) -> None:
        """Register the checks of the settings, the kind of returns, and the actions of staff."""
        from returns import checks, kind, staff_actions  # noqa: F401, PLC0415  (as it says)
