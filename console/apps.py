"""The console, as a Django app."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate

__all__ = ["ConsoleConfig"]


class ConsoleConfig(AppConfig):
    """What operators see and do."""

    name = "console"

    def ready(self) -> None:
        """Register the check of a setting; have the groups made after migrations, when the
        permissions are there.
        """
        from console import checks  # noqa: F401, PLC0415  registering is its effect
        from console.permissions import make_groups  # noqa: PLC0415  models are not there before

        post_migrate.connect(make_groups, sender=self, dispatch_uid="console.permissions")
