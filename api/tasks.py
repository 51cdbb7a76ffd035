"""Periodic tasks of the API, started by beat."""

from celery import shared_task

from api.auth.lockout import purge_failed_logins
from api.auth.sessions import purge_expired_sessions
from api.auth.tokens import purge_expired_tokens

__all__ = ["purge_logins"]


@shared_task(name="api.purge_logins")
def purge_logins() -> int:
    """Delete expired tokens and sessions, and failed logins older than the lockout.

    Return how many rows.
    """
    return purge_expired_tokens() + purge_expired_sessions() + purge_failed_logins()
