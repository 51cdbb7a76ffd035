"""Refused writes of staff in the admin and the console are in the log, whichever view refuses."""

from collections.abc import Callable

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from staff import log
from staff.context import surface_of
from staff.logins import is_member_of_staff
from staff.models import LogEntry
from staff.policy import NotPermitted

__all__ = ["LogRefusals", "log_refusal"]

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")


def log_refusal(request: HttpRequest, reason: str) -> None:
    """Log a refused call that would have written, unless the user is no member of staff."""
    user = request.user
    if request.method in SAFE_METHODS or not user.is_authenticated or not is_member_of_staff(user):
        return
    about: log.About = {
        "subject": f"{request.method} {request.path}"[:200],
        "outcome": reason or "Refused.",
    }
    log.record(user, LogEntry.Kind.REFUSED, "refused", about, via=surface_of(request))


class LogRefusals:
    """Logs each PermissionDenied of a view that Django answers with 403. A middleware.

    Left out: refusals of the policy, which are logged where it is asked.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass a request on."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Log a refusal. The view's transactions have been rolled back by now."""
        is_refusal = isinstance(exception, PermissionDenied)
        if is_refusal and not isinstance(exception.__cause__, NotPermitted):
            log_refusal(request, str(exception))
        return None
