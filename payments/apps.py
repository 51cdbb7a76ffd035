"""The payments app."""

from django.apps import AppConfig

__all__ = ["PaymentsConfig"]


class PaymentsConfig(AppConfig):
    """Payments, in a database of its own."""

    name = "payments"

    def ready(self) -> None:
        """Register the check of the gateway settings."""
        from payments import checks  # noqa: F401, PLC0415  (its import registers it)
