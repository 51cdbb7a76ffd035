"""Who may do what."""

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

__all__ = ["IsStaff", "IsStaffOrReads"]


class IsStaff(BasePermission):
    """Staff only."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether the user is staff."""
        return request.user.is_authenticated and request.user.is_staff


class IsStaffOrReads(IsStaff):
    """Everyone with a token may read; staff may write."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Tell whether the user may do this."""
        reads = request.method in SAFE_METHODS and request.user.is_authenticated
        return reads or super().has_permission(request, view)
