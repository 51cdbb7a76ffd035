"""The authentication backend that takes every permission to write from auditors."""

from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from staff.roles import is_auditor

__all__ = ["AuditorsOnlyView"]


class AuditorsOnlyView:
    """Refuses auditors every permission other than to view, also where another group gives it.

    Django asks the backends in their order and stops at a refusal. So this one stands before the
    backend that grants permissions. Django does not ask for superusers: `staff.policy` does. The
    class has no `get_user`, because no session belongs to it.
    """

    def authenticate(self, request: HttpRequest | None, **credentials: object) -> None:
        """Leave every login to the other backends."""

    def has_perm(self, user_obj: User | AnonymousUser, perm: str, obj: object = None) -> bool:
        """Return False, which leaves the decision to the next backend.

        Raises PermissionDenied, which ends it.
        """
        _app, _, codename = perm.partition(".")
        if not codename.startswith("view_") and is_auditor(user_obj):
            raise PermissionDenied
        return False
