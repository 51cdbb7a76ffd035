"""Export and anonymisation of a customer's data, as a Django app."""

from django.apps import AppConfig

__all__ = ["PrivacyConfig"]


class PrivacyConfig(AppConfig):
    """Personal data of customers."""

    name = "privacy"

    def ready(self) -> None:
        """Register the action of staff."""
        from privacy import staff_actions  # noqa: F401, PLC0415  (its import registers it)
