"""The console, as a Django app."""

from django.apps import AppConfig

__all__ = ["ConsoleConfig"]


class ConsoleConfig(AppConfig):
    """What operators see and do."""

    name = "console"
