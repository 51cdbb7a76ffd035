"""How often: requests counted by the minute, for each user and for each address.

The counters live in the cache, which may be down: then nothing is counted and everyone is served.
"""

import logging
import time
from typing import NamedTuple, cast

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from redis.exceptions import RedisError
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from api.auth.counting_cache import CountingCache
from api.problems.exceptions import Problem
from api.problems.problem_types import TOO_MANY_REQUESTS
from api.requests.client_ip import client_ip

__all__ = ["RateLimit", "count_invalid_token"]

logger = logging.getLogger(__name__)

WINDOW = 60  # seconds

# After a failure of the cache it is left alone for so many seconds, so that it delays a request now
# and then, not each.
RESPITE = 10


class Allowance(NamedTuple):
    """A counter, and the most it may come to within a minute."""

    key: str
    most: int


class RateLimit(BaseThrottle):
    """Limit a user, and an address, which may have many users behind it; without a user, the
    address as if it were one.

    A view may name the limit of a method of its own: `rate_limits = {"POST": "orders"}`; otherwise
    it is "read" or "write". `settings.RATE_LIMITS` has the requests a minute, 0 for as many as
    there come.
    """

    def allow_request(self, request: Request, view: object) -> bool:
        """Count the request. Raises a `Problem` of status 429 that says when to come back."""
        own: dict[str, str] = getattr(view, "rate_limits", {})
        scope = own.get(request.method or "", "read" if request.method in SAFE_METHODS else "write")
        factor = settings.RATE_LIMIT_ADDRESS_FACTOR if request.user.is_authenticated else 1
        _count([*_of_user(request, scope), *_of_address(request, scope, factor)])
        return True


def count_invalid_token(request: HttpRequest | Request) -> None:
    """Count a request whose token is not valid against its address. Raises a `Problem` of status
    429.
    """
    _count(_of_address(request, "stranger", 1))


def _of_user(request: Request, scope: str) -> list[Allowance]:
    most = settings.RATE_LIMITS[scope]
    return (
        [Allowance(f"rate:{scope}:user:{request.user.pk}", most)]
        if most and request.user.is_authenticated
        else []
    )


def _of_address(request: HttpRequest | Request, scope: str, factor: int) -> list[Allowance]:
    most = settings.RATE_LIMITS[scope] * factor
    return [Allowance(f"rate:{scope}:address:{client_ip(request)}", most)] if most else []


class _Circuit:
    """The way to the cache, which is left alone for a while after it failed."""

    def __init__(self) -> None:
        self.closed_until = 0.0

    def count(self, keys: list[str]) -> list[int]:
        """Return what the counters have come to; nothing while the cache is not to be had."""
        if time.monotonic() < self.closed_until:
            return []
        try:
            return cast("CountingCache", cache).count(keys, seconds=2 * WINDOW)
        except (RedisError, OSError) as error:
            self.closed_until = time.monotonic() + RESPITE
            logger.warning(
                "The cache does not answer; for %d s nobody's requests are counted: %r",
                RESPITE,
                error,
            )
            return []


_circuit = _Circuit()


def _count(allowances: list[Allowance]) -> None:
    if not allowances:
        return
    window, passed = divmod(int(time.time()), WINDOW)
    counted = _circuit.count([f"{allowance.key}:{window}" for allowance in allowances])
    if any(count > allowance.most for count, allowance in zip(counted, allowances, strict=False)):
        raise Problem(TOO_MANY_REQUESTS, headers={"Retry-After": str(WINDOW - passed)})
