"""Long polling of sagas: wait until one is decided, or until anything about it changes."""

from functools import cache, partial
from uuid import UUID

from rest_framework.request import Request

from api.problems.exceptions import Problem
from api.requests.prefer import preferred_wait
from api.resources.problem_types import TOO_MANY_OF_USER, TOO_MANY_WAITING
from api.resources.resource import SagaResource
from api.responses.long_poller import (
    LongPoller,
    Slot,
    TooManyWaiters,
    TooManyWaitersOfUser,
    disconnect_check,
)
from sagas.queries import SagaVersion, saga_versions

__all__ = ["applied", "current_version", "require_slot", "wait_as_preferred"]

# Seconds after which a client should try again if all slots are taken.
FULL_RETRY_AFTER = "5"


@cache
def poller_of(resource: SagaResource) -> LongPoller[SagaVersion]:
    """Return the poller of a resource in this process. Its thread starts with the first waiter."""
    return LongPoller(partial(saga_versions, resource.model, decided=resource.decided))


def current_version(resource: SagaResource, saga: UUID) -> SagaVersion | None:
    """Return the current version of a saga, or None if it has no row."""
    return saga_versions(resource.model, [saga], decided=resource.decided).get(saga)


def wait_as_preferred(request: Request, resource: SagaResource, saga: UUID) -> int | None:
    """Wait for a decision as the client prefers. Call it outside of transactions.

    Return the limit in seconds, or None if the request did not wait: the client did not ask for it,
    or all slots are taken.
    """
    seconds = preferred_wait(request)
    if seconds and not _is_decided(current_version(resource, saga)):
        try:
            slot = poller_of(resource).acquire(request.user.pk, disconnect_check(request))
        except TooManyWaiters:
            return None
        with slot:
            slot.wait(saga, _is_decided, seconds=seconds)
    return seconds


def applied(seconds: int | None) -> dict[str, str]:
    """Return the header that tells the client for how long the request would have waited."""
    return {} if seconds is None else {"Preference-Applied": f"wait={seconds}"}


def require_slot(request: Request, resource: SagaResource) -> Slot[SagaVersion]:
    """Return a slot for a stream, which the caller must release. Raises a `Problem` of 429 or 503
    if there is none.
    """
    try:
        return poller_of(resource).acquire(request.user.pk, disconnect_check(request))
    except TooManyWaitersOfUser as error:
        raise Problem(TOO_MANY_OF_USER, headers={"Retry-After": FULL_RETRY_AFTER}) from error
    except TooManyWaiters as error:
        raise Problem(TOO_MANY_WAITING, headers={"Retry-After": FULL_RETRY_AFTER}) from error


def _is_decided(version: SagaVersion | None) -> bool:
    return version is None or version.decided
