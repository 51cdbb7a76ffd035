"""The audit app."""

from django.apps import AppConfig

__all__ = ["AuditConfig"]


class AuditConfig(AppConfig):
    """The audit app. It has no tables."""

    name = "audit"
