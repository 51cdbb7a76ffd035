"""The base class of the admin's pages on which staff write: they ask the policy, and log."""

from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from staff.policy import NotPermitted, decide
from staff.writes import check_permitted

__all__ = ["PolicyAdmin"]


class PolicyAdmin(ModelAdmin):
    """An admin whose forms take actions of the policy. A refused form is in the log.

    A subclass names the action of each form, and writes within `staff.writes.staff_write`.
    """

    add_action: ClassVar[str] = ""
    change_action: ClassVar[str] = ""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Tell whether the policy permits the user to add."""
        return bool(self.add_action) and decide(request.user, self.add_action).allowed

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Tell whether the policy permits the user to change."""
        return bool(self.change_action) and decide(request.user, self.change_action).allowed

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Refuse a form that the policy does not permit, and log the refusal.

        The log entry commits, because Django's own transaction begins later.
        """
        action = self.change_action if object_id else self.add_action
        if request.method == "POST" and action:
            subject = f"{self.opts.verbose_name} {object_id}" if object_id else ""
            try:
                check_permitted(request.user, action, via="admin", subject=subject[:200])
            except NotPermitted as refused:
                raise PermissionDenied(str(refused)) from refused
        response: HttpResponse = super().changeform_view(
            request, object_id, form_url, extra_context
        )
        return response
