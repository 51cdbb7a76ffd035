"""The payments app."""

from django.apps import AppConfig

__all__ = ["PaymentsConfig"]


class PaymentsConfig(AppConfig):
    """Payments, in a database of its own."""

    name = "payments"

    def ready(self) -> None:
        """Register the check of the gateway settings, and the actions of staff."""
        from payments import checks, staff_actions  # noqa: F401, PLC0415  (as it says)
