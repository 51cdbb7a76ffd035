"""Logins, failed logins and logouts of staff in the log, and the tokens that they revoke.

A login of staff that cannot be logged is refused. Logins of customers are no entries. A failed
login at the admin is one for any name; at the API only for the name of a member of staff.

A failed login is logged after its answer is sent, because the answer to a name of staff must take
as long as any other. The entry has no name that belongs to no member of staff: it may be a password
in the wrong field.
"""

import logging
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import AbstractUser, AnonymousUser, User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.core.signals import request_finished
from django.db import Error, connection
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from staff import log
from staff.context import request_under_way, surface_of
from staff.models import LogEntry

__all__ = ["FAILURES_AN_HOUR", "is_member_of_staff", "log_revocation"]

logger = logging.getLogger(__name__)

# Entries of failed logins in an hour, so that no attacker can fill the log.
FAILURES_AN_HOUR = 200

PENDING = "_failed_logins"


def is_member_of_staff(user: AbstractUser) -> bool:
    """Tell whether a user has any right of staff. Members of a group count, as auditors are one."""
    return user.is_staff or user.is_superuser or user.groups.exists()


@receiver(user_logged_in)
def log_login(request: HttpRequest | None, user: User, **_: Any) -> None:
    """Log a login of staff. A database error ends the login."""
    if _was_sent(request) and is_member_of_staff(user):
        log.record(user, LogEntry.Kind.DONE, "login", {}, via=surface_of(request))


@receiver(user_logged_out)
def log_logout(request: HttpRequest | None, user: User | None, **_: Any) -> None:
    """Log a logout of staff."""
    if _was_sent(request) and user is not None and is_member_of_staff(user):
        log.record(user, LogEntry.Kind.DONE, "logout", {}, via=surface_of(request))


def log_revocation(user: User, outcome: str) -> None:
    """Log that a member of staff has revoked tokens of their own over REST."""
    if is_member_of_staff(user):
        about: log.About = {"subject": f"user {user.pk}", "outcome": outcome}
        log.record(user, LogEntry.Kind.DONE, "revoke_tokens", about, via="api")


@receiver(user_login_failed)
def remember_failed_login(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    """Remember a failed login, to be logged after the answer."""
    if request is None or not _was_sent(request) or _was_locked_before(request):
        return
    name = str(credentials.get("username") or "").replace("\0", "")[:150]
    vars(request).setdefault(PENDING, []).append(name)


@receiver(request_finished)
def log_failed_logins(**_: Any) -> None:
    """Log the failed logins of the request whose answer was sent, and forget the request."""
    under_way = request_under_way.get()
    if under_way is None:
        return
    names = vars(under_way.request).pop(PENDING, [])
    try:
        for name in names:
            _log_failed_login(under_way.request, name)
    except Error:
        logger.exception("A failed login could not be logged. Check the default database.")
    finally:
        request_under_way.set(None)
        if names and not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()  # returns it to the pool, if there is one


def _log_failed_login(request: HttpRequest, name: str) -> None:
    user = User.objects.filter(username=name).first()
    via = surface_of(request)
    is_staff = user is not None and is_member_of_staff(user)
    if not is_staff and via == "api":
        return

    hour_ago = timezone.now() - timedelta(hours=1)
    recent = LogEntry.objects.filter(action="login_failed", at__gt=hour_ago)
    already = recent[:FAILURES_AN_HOUR].count()
    if already >= FAILURES_AN_HOUR:
        return

    outcome = "Failed." if is_staff else "Failed: no member of staff has the name."
    if getattr(request, "axes_locked_out", False):
        outcome += " The name is locked at this address for now."
    if already == FAILURES_AN_HOUR - 1:
        outcome += " Further failed logins of this hour are not logged."
    about: log.About = {"outcome": outcome}
    log.record(
        user if user is not None and is_staff else AnonymousUser(),
        LogEntry.Kind.FAILED,
        "login_failed",
        about,
        via=via,
    )


def _was_sent(request: HttpRequest | None) -> bool:
    """Tell whether a client sent the request. A program may log a user in without one."""
    return request is not None and bool(request.method)


def _was_locked_before(request: HttpRequest) -> bool:
    """Tell whether the attempt was refused unseen. Axes counts failures only of other attempts."""
    is_locked = getattr(request, "axes_locked_out", False)
    return is_locked and getattr(request, "axes_failures_since_start", None) is None
