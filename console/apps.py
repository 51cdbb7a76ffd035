"""The console, as a Django app."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate

__all__ = ["ConsoleConfig"]


class ConsoleConfig(AppConfig):
    """The operators' console."""

    name = "console"

    def ready(self) -> None:
        """Register the system check, and create the groups after migrations."""
        from console import checks  # noqa: F401, PLC0415  its import registers the check
        from console.permissions import make_groups  # noqa: PLC0415  models are not loaded before

        post_migrate.connect(make_groups, sender=self, dispatch_uid="console.permissions")
