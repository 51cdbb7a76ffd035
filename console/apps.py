"""The console, as a Django app."""

from typing import ClassVar

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate

__all__ = ["ConsoleConfig"]


class ConsoleConfig(AppConfig):
    """The operators' console."""

    name = "console"

    # Beat sends them: see `sagas.celery.configuration`.
    periodic_tasks: ClassVar = {
        "console-work": ("console.work", 5.0),
        "console-purge": ("console.purge", 3600.0),
    }

    def ready(self) -> None:
        """Register the checks and the tasks, create the groups after migrations, and take over the
        actions of the message lists. Register the pages of sagas and messages that no other admin
        shows.

        All apps have registered their admins, because django.contrib.admin comes first.
        """
        from console import checks, tasks  # noqa: F401, PLC0415  their import registers them
        from console.admin.failed_tasks import register_failed_tasks  # noqa: PLC0415  as below
        from console.admin.sagas import register_kinds, register_messages  # noqa: PLC0415  as below
        from console.message_lists import ConsoleActions  # noqa: PLC0415  as below
        from sagas.admin.messages import use_console  # noqa: PLC0415  as below
        from staff.roles import make_groups  # noqa: PLC0415  models are not loaded before

        use_console(ConsoleActions())
        register_failed_tasks()
        register_kinds()
        register_messages()
        # After the last app, because the groups have permissions of the apps below.
        last = [config for config in apps.get_app_configs() if config.models_module][-1]
        post_migrate.connect(make_groups, sender=last, dispatch_uid="staff.roles")
