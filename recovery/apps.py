"""The recovery app."""

from django.apps import AppConfig

__all__ = ["RecoveryConfig"]


class RecoveryConfig(AppConfig):
    """The recovery app. It has no tables."""

    name = "recovery"

    def ready(self) -> None:
        """Name the entries of a recovery in the log of staff."""
        from staff.policy import register_events  # noqa: PLC0415  models are not loaded before

        register_events({"recover": "Recover a database"})
