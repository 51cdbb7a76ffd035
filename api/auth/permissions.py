"""Permissions of the views. They ask the policy of staff, as the admin does."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from staff.policy import decide, may_read
from staff.refusals import log_refusal
from staff.roles import is_auditor
from staff.writes import check_permitted

__all__ = ["AsStaffMay", "IsCustomer"]


class IsCustomer(BasePermission):
    """Allows every user with a token; auditors may only read."""

    message = "Auditors may only read."

    def has_permission(self, request: Request, view: Any) -> bool:
        """Tell whether the user has the permission. A refused write of an auditor is logged."""
        if not request.user.is_authenticated:
            return False
        if request.method in SAFE_METHODS or not is_auditor(request.user):
            return True
        log_refusal(request._request, self.message)
        return False


class AsStaffMay(BasePermission):
    """Allows what the policy of staff allows.

    A view names Django's permission for its reads in `read_permission`, or None if every user may
    read. It names the action of each method that writes in `write_actions`, and in `kinds` the
    kinds of sagas that these are about. A refused write of a member of staff is in the log.
    Customers cannot fill the log, because they are refused before.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        """Tell whether the user may read, or write by this method.

        Raises `NotPermitted` after logging the refusal to a member of staff.
        """
        user = request.user
        if not user.is_authenticated:
            return False
        action = getattr(view, "write_actions", {}).get(request.method)
        if action is None:
            permission = getattr(view, "read_permission", None)
            self.message = f"Reading this needs the permission {permission}."
            return permission is None or may_read(user, permission)
        kinds = getattr(view, "kinds", ())
        if user.is_staff:
            subject = view.kwargs.get("sku", "")
            check_permitted(user, action, via="api", kinds=kinds, subject=subject)
            return True
        self.message = decide(user, action).reason
        return False
