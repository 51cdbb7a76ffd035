"""The project itself as a Django app, which registers its checks."""

from django.apps import AppConfig

__all__ = ["ProjectConfig"]


class ProjectConfig(AppConfig):
    """The settings of the project."""

    name = "config"

    def ready(self) -> None:
        """Register the checks of the settings, and name the entries of the commands in the log."""
        from config import checks  # noqa: F401, PLC0415  (its import registers them)
        from staff.policy import register_events  # noqa: PLC0415  models are not loaded before

        register_events(
            {"loaddata": "Load rows from a file", "reset_lockouts": "Reset logins and lockouts"}
        )
