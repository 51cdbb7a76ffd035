"""Ends the access of a user: all sessions of the admin, and the access that other apps give.

An app that gives access of its own, such as tokens of an API, registers how it ends.
"""

import logging
from collections.abc import Callable

from django.apps import apps
from django.contrib.auth import SESSION_KEY
from django.db.models.functions import Now

__all__ = ["also_end", "end_access"]

logger = logging.getLogger(__name__)

# Ends the access of the user with an id, and returns the number in words.
EndAccess = Callable[[int], str]

_also: list[EndAccess] = []


def also_end(end: EndAccess) -> None:
    """Register a function that ends another access of a user. Call it when the app is ready."""
    if end not in _also:
        _also.append(end)


def end_access(user_id: int) -> None:
    """Delete the sessions of a user, and end other access, also for a later activation."""
    ended = [*(end(user_id) for end in _also), f"{_end_sessions(user_id)} sessions"]
    logger.info("User %s: %s ended", user_id, " and ".join(ended))


def _end_sessions(user_id: int) -> int:
    if not apps.is_installed("django.contrib.sessions"):
        return 0
    from django.contrib.sessions.models import Session  # noqa: PLC0415  an app that may be missing

    # A session has its user in its data, so all are read. Only staff have sessions.
    alive = Session.objects.filter(expire_date__gt=Now())
    ended = [
        session.session_key
        for session in alive.iterator(chunk_size=500)
        if session.get_decoded().get(SESSION_KEY) == str(user_id)
    ]
    Session.objects.filter(session_key__in=ended).delete()
    return len(ended)
