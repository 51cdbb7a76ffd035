"""Rate limits: requests per minute, for each user and for each address.

The counters are in the cache. While the cache is down, no request is counted or limited.
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

# Seconds without use of the cache after it failed, so that it does not delay every request.
RETRY_CACHE_AFTER = 10


class Allowance(NamedTuple):
    """A counter, and its limit within a minute."""

    key: str
    most: int


class RateLimit(BaseThrottle):
    """Limits a user and an address.

    An address may have several users behind it, so its limit is higher; without a user it is that
    of a user. A view may set a scope per method: `rate_limits = {"POST": "orders"}`; otherwise the
    scope is "read" or "write". `settings.RATE_LIMITS` has the requests per minute; 0 is unlimited.
    """

    def allow_request(self, request: Request, view: object) -> bool:
        """Count the request. Raises a `Problem` of status 429 with `Retry-After`."""
        own: dict[str, str] = getattr(view, "rate_limits", {})
        scope = own.get(request.method or "", "read" if request.method in SAFE_METHODS else "write")
        factor = settings.RATE_LIMIT_ADDRESS_FACTOR if request.user.is_authenticated else 1
        _count([*_of_user(request, scope), *_of_address(request, scope, factor)])
        return True


def count_invalid_token(request: HttpRequest | Request) -> None:
    """Count a request with an invalid token. Raises a `Problem` of status 429."""
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
    """A circuit breaker for the cache: after a failure it is not used for a while."""

    def __init__(self) -> None:
        self.skip_cache_until = 0.0

    def count(self, keys: list[str]) -> list[int]:
        """Increment the counters and return them; an empty list while the cache is down."""
        if time.monotonic() < self.skip_cache_until:
            return []
        try:
            return cast("CountingCache", cache).count(keys, seconds=2 * WINDOW)
        except (RedisError, OSError) as error:
            self.skip_cache_until = time.monotonic() + RETRY_CACHE_AFTER
            logger.warning(
                "Rate limits are off for %d s, because the cache failed. Check Redis: %r",
                RETRY_CACHE_AFTER,
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
