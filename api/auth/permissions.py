"""Permissions of the views. Auditors may read everything that staff may, and write nothing."""

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from api.auth.roles import is_auditor, reads_everything

__all__ = ["IsCustomer", "IsStaff", "IsStaffOrReads"]


class IsCustomer(BasePermission):
    """Allows every user with a token; auditors may only read."""

    message = "Auditors may only read."

    def has_permission(self, request: Request, view: object) -> bool:
        """Tell whether the user has the permission."""
        return request.user.is_authenticated and (
            request.method in SAFE_METHODS or not is_auditor(request.user)
        )


class IsStaff(IsCustomer):
    """Allows staff; auditors may only read."""

    message = "Only staff may do this."

    def has_permission(self, request: Request, view: object) -> bool:
        """Tell whether the user has the permission."""
        return super().has_permission(request, view) and reads_everything(request.user)


class IsStaffOrReads(IsStaff):
    """Allows every user with a token to read, and staff to write."""

    def has_permission(self, request: Request, view: object) -> bool:
        """Tell whether the user has the permission."""
        reads = request.method in SAFE_METHODS and request.user.is_authenticated
        return reads or super().has_permission(request, view)
