"""Who may do what. Auditors may read whatever staff may, and write nothing."""

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from api.auth.roles import is_auditor, reads_everything

__all__ = ["IsCustomer", "IsStaff", "IsStaffOrReads"]


class IsCustomer(BasePermission):
    """Everyone with a token; auditors read only."""

    message = "Auditors only read."

    def has_permission(self, request: Request, view: object) -> bool:
        """Tell whether the user may do this."""
        return request.user.is_authenticated and (
            request.method in SAFE_METHODS or not is_auditor(request.user)
        )


class IsStaff(IsCustomer):
    """Staff only; auditors read only."""

    message = "This is for staff."

    def has_permission(self, request: Request, view: object) -> bool:
        """Tell whether the user may do this."""
        return super().has_permission(request, view) and reads_everything(request.user)


class IsStaffOrReads(IsStaff):
    """Everyone with a token may read; staff may write."""

    def has_permission(self, request: Request, view: object) -> bool:
        """Tell whether the user may do this."""
        reads = request.method in SAFE_METHODS and request.user.is_authenticated
        return reads or super().has_permission(request, view)
