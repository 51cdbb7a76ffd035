"""Purges the expired sessions of the admin."""

from sagas import sql

__all__ = ["purge_expired_sessions"]


def purge_expired_sessions() -> int:
    """Delete the expired sessions; return how many.

    Django's command `clearsessions` deletes all of them in one transaction.
    """
    return sql.delete_in_batches(
        "default",
        "django_session",
        "old.expire_date < now()",
        {},
        order="expire_date",
        key="session_key",
    )
