"""The policy and the log of staff, as a Django app."""

from typing import ClassVar

from django.apps import AppConfig

__all__ = ["StaffConfig"]


class StaffConfig(AppConfig):
    """Writes by staff: policy and log."""

    name = "staff"

    # Beat sends it: see `sagas.celery.configuration`.
    periodic_tasks: ClassVar = {"verify-log": ("staff.verify_log", 3600.0)}

    def ready(self) -> None:
        """Register the task. Log logins, and changes of users and groups."""
        from staff import logins, people, tasks  # noqa: F401, PLC0415  as their import does
