"""Limits on logins to the API and the admin.

django-axes locks a user name at an address after failed logins, so an attacker cannot lock out a
user at other addresses. An unknown address is not locked, because it may be anyone's. All logins of
an address count against its rate limit, so that one address cannot try many names.
"""

from collections.abc import Callable
from datetime import datetime
from math import ceil
from typing import Any

from axes.models import AccessAttempt
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone

from api.auth.throttling import count_login
from api.problems.exceptions import Problem, problem_response
from api.problems.problem_types import TOO_MANY_FAILED_LOGINS, TOO_MANY_REQUESTS
from api.requests.client_ip import client_ip
from sagas import sql

__all__ = [
    "LimitAdminLogins",
    "is_address_unknown",
    "lockout_response",
    "purge_failed_logins",
]

# Pages of the admin that check a password, and the name of the field with the user name, if any.
PASSWORD_PAGES = {"admin:login": "username", "admin:password_change": ""}


class LimitAdminLogins:
    """Counts passwords that are sent to the admin, as the API counts its logins. A middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass a request on."""
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        """Return 429 with `Retry-After` above the limit."""
        page = request.resolver_match.view_name if request.resolver_match else ""
        if request.method != "POST" or page not in PASSWORD_PAGES:
            return None
        username = request.POST.get(PASSWORD_PAGES[page], "") or request.user.get_username()
        try:
            count_login(request, username)
        except Problem as problem:
            return HttpResponse(
                f"{TOO_MANY_REQUESTS.meaning} Try again after the time in Retry-After.",
                status=problem.status_code,
                content_type="text/plain; charset=utf-8",
                headers=problem.headers,
            )
        return None


def is_address_unknown(request: HttpRequest, credentials: dict[str, str] | None = None) -> bool:
    """Whether axes neither counts nor locks an attempt. AXES_WHITELIST_CALLABLE."""
    return client_ip(request) is None


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
    params = {"before": timezone.now() - settings.AXES_COOLOFF_TIME}
    return sql.delete_in_batches(
        "default",
        "axes_accessattempt",
        "old.attempt_time < %(before)s",
        params,
        order="attempt_time",
    )


def _seconds_left(request: HttpRequest, username: str | None) -> int:
    attempts = AccessAttempt.objects.filter(username=username, ip_address=client_ip(request))
    last: datetime = (
        attempts.order_by("-attempt_time").values_list("attempt_time", flat=True).first()
        or timezone.now()
    )
    return max(1, ceil((last + settings.AXES_COOLOFF_TIME - timezone.now()).total_seconds()))
