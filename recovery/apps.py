"""The recovery app."""

from django.apps import AppConfig

__all__ = ["RecoveryConfig"]


class RecoveryConfig(AppConfig):
    """The recovery app. It has no tables."""

    name = "recovery"
