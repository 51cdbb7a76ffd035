"""The audit app."""

from django.apps import AppConfig

__all__ = ["AuditConfig"]


class AuditConfig(AppConfig):
    """The audit app. Its tables are in the database of orders."""

    name = "audit"
