"""The base class of the admin's pages whose writes no policy decides: it logs each of them."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from staff import log
from staff.models import LogEntry

__all__ = ["LoggedAdmin"]

# Rows that the entry of one deletion names.
MOST_NAMED = 50


class LoggedAdmin(ModelAdmin):
    """An admin that logs what its forms add, change and delete, in the same transaction.

    For models in the default database, where the log is. Django's permissions decide.
    """

    def describe(self, rows: Sequence[Any]) -> list[str]:
        """Return rows in words for the log, without personal data."""
        return [f"{self.opts.verbose_name} {row.pk}" for row in rows]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save a row, and log which fields were changed."""
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            changed = ", ".join(form.changed_data) or "nothing"
            action = "admin_change" if change else "admin_add"
            (described,) = self.describe([obj])
            self._log(request, action, described, f"Changed: {changed}.")

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        """Delete a row."""
        (described,) = self.describe([obj])
        with transaction.atomic():
            super().delete_model(request, obj)
            self._log(request, "admin_delete", described, "Deleted.")

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete the selected rows. The entry names the first ones."""
        named = "; ".join(self.describe(list(queryset.order_by("pk")[:MOST_NAMED])))
        with transaction.atomic():
            number = queryset.count()
            super().delete_queryset(request, queryset)
            subject = f"{number} {self.opts.verbose_name_plural}"
            self._log(request, "admin_delete", subject, f"Deleted: {named}.")

    def _log(self, request: HttpRequest, action: str, subject: str, outcome: str) -> None:
        about: log.About = {"subject": subject[:200], "outcome": outcome}
        log.record(request.user, LogEntry.Kind.DONE, action, about, via="admin")
