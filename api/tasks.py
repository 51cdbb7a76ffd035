"""The API's own chores, by beat."""

from celery import shared_task

from api.auth.authentication import purge_expired_tokens
from api.auth.lockout import purge_failed_logins

__all__ = ["purge_logins"]


@shared_task(name="api.purge_logins")
def purge_logins() -> int:
    """Forget tokens that have expired, and failed logins that were long enough ago."""
    return purge_expired_tokens() + purge_failed_logins()
