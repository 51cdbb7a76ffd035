"""The audit app."""

from django.apps import AppConfig

__all__ = ["AuditConfig"]


class AuditConfig(AppConfig):
    """The audit, which has no tables of its own."""

    name = "audit"
