"""Lockout after failed logins to the API and the admin, counted by django-axes.

The lockout is per user name and address, so an attacker cannot lock out a user at other addresses.
"""

from datetime import datetime
from math import ceil

from axes.models import AccessAttempt
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone

from api.problems.exceptions import Problem, problem_response
from api.problems.problem_types import TOO_MANY_FAILED_LOGINS
from api.requests.client_ip import client_ip

__all__ = ["lockout_response", "purge_failed_logins"]


def lockout_response(
    request: HttpRequest,
    response: HttpResponseBase | None = None,
    credentials: dict[str, str] | None = None,
) -> HttpResponse:
    """Answer a locked-out login, whether the user exists or not. AXES_LOCKOUT_CALLABLE."""
    username = (credentials or {}).get("username")
    headers = {"Retry-After": str(_seconds_left(request, username))}
    if not request.path.startswith("/api/"):
        text = f"{TOO_MANY_FAILED_LOGINS.meaning} Try again after the time in Retry-After."
        return HttpResponse(
            text, status=429, content_type="text/plain; charset=utf-8", headers=headers
        )
    return problem_response(Problem(TOO_MANY_FAILED_LOGINS, headers=headers))


def purge_failed_logins() -> int:
    """Delete failed logins that are older than the lockout; return how many."""
    purged, _ = AccessAttempt.objects.filter(
        attempt_time__lt=timezone.now() - settings.AXES_COOLOFF_TIME
    ).delete()
    return int(purged)


def _seconds_left(request: HttpRequest, username: str | None) -> int:
    attempts = AccessAttempt.objects.filter(username=username, ip_address=client_ip(request))
    last: datetime = (
        attempts.order_by("-attempt_time").values_list("attempt_time", flat=True).first()
        or timezone.now()
    )
    return max(1, ceil((last + settings.AXES_COOLOFF_TIME - timezone.now()).total_seconds()))
