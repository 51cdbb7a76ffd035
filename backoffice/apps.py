"""The shop's pages in the console, as a Django app. It has no tables."""

from django.apps import AppConfig

__all__ = ["BackofficeConfig"]


class BackofficeConfig(AppConfig):
    """Adds the money and the stock of orders to the console."""

    name = "backoffice"

    def ready(self) -> None:
        """Register the actions, the part of the start page, the words and the findings."""
        from backoffice import extensions  # noqa: F401, PLC0415  (its import registers them)
