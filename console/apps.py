"""The console, as a Django app."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate

__all__ = ["ConsoleConfig"]


class ConsoleConfig(AppConfig):
    """What operators see and do."""

    name = "console"

    def ready(self) -> None:
        """Have the groups made after migrations; Django has made the permissions by then."""
        from console.rights import make_groups  # noqa: PLC0415  models are not there before

        post_migrate.connect(make_groups, sender=self, dispatch_uid="console.rights")
