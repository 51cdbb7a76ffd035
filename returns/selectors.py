"""The queries of returns, limited to the rows that a user may see."""

from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import QuerySet

from returns.models import Return, TimelineEvent
from returns.status import FREED, Status
from staff.policy import may_read

__all__ = ["READ_RETURNS", "timeline_of", "visible_returns", "with_status"]

# Django's permission to read the returns of all customers.
READ_RETURNS = "returns.view_return"


def visible_returns(user: User | AnonymousUser) -> QuerySet[Return]:
    """Return the returns that a user may see: all with the permission, else their own."""
    returns = Return.objects.prefetch_related("lines")
    if isinstance(user, AnonymousUser):
        return returns.none()
    return returns if may_read(user, READ_RETURNS) else returns.filter(user=user)


def with_status(returns: QuerySet[Return], status: str) -> QuerySet[Return]:
    """Filter returns by status.

    Redundant conditions select partial indexes: open returns have not ended; refused and cancelled
    ones have a failure.
    """
    found = returns.filter(status=status)
    if status in FREED:
        return found.exclude(failure_code="")
    return found if status == Status.COMPLETED else found.filter(ended_at=None)


def timeline_of(return_id: UUID) -> QuerySet[TimelineEvent]:
    """Return the events of a return, oldest first."""
    return TimelineEvent.objects.filter(saga=return_id)
