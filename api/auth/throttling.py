"""Rate limits: requests per minute, for each user and for each address.

The counters are in the cache. While the cache is down, each process counts logins on its own, and
counts nothing else. A request whose client's address is unknown is not counted by address, because
one client would use up the limits of all others.
"""

import logging
import threading
import time
import unicodedata
from collections import Counter
from hashlib import sha256
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

__all__ = ["RateLimit", "count_login", "count_stranger"]

logger = logging.getLogger(__name__)

WINDOW = 60  # seconds

# Seconds without use of the cache after it failed, so that it does not delay every request.
RETRY_CACHE_AFTER = 10

# Counters that a process keeps itself in one minute while the cache is down. An IPv6 network or a
# user name of an attacker needs one each, so their number is limited.
MAX_OWN_COUNTERS = 100_000

LOGIN = "login"


class Allowance(NamedTuple):
    """A counter, and its limit within a minute."""

    key: str
    most: int


class RateLimit(BaseThrottle):
    """Limits a user and an address.

    An address may have several users behind it, so its limit is higher; without a user it is that
    of a user. A view may set a scope per method: `rate_limits = {"POST": "orders"}`, or None for a
    method that it counts itself; otherwise the scope is "read" or "write". `settings.RATE_LIMITS`
    has the requests per minute; 0 is unlimited.
    """

    def allow_request(self, request: Request, view: object) -> bool:
        """Count the request. Raises a `Problem` of status 429 with `Retry-After`."""
        own: dict[str, str | None] = getattr(view, "rate_limits", {})
        scope = own.get(request.method or "", "read" if request.method in SAFE_METHODS else "write")
        if scope is None:
            return True
        factor = settings.RATE_LIMIT_ADDRESS_FACTOR if request.user.is_authenticated else 1
        _count([*_of_user(request, scope), *_of_address(request, scope, factor)])
        return True


def count_stranger(request: HttpRequest | Request) -> None:
    """Count a request with an invalid token or signature. Raises a `Problem` of status 429."""
    _count(_of_address(request, "stranger", 1))


def count_login(request: HttpRequest | Request, username: str) -> None:
    """Count a login by its address, or by its user name if the address is unknown.

    Raises a `Problem` of status 429. While the cache is down, this process counts on its own.
    """
    allowances = _of_address(request, LOGIN, 1)
    most = settings.RATE_LIMITS[LOGIN]
    if most and client_ip(request) is None:
        name = sha256(unicodedata.normalize("NFKC", username).encode(errors="replace")).hexdigest()
        allowances = [Allowance(f"rate:{LOGIN}:name:{name}", most)]
    _count(allowances, own=_own_counters)


def _of_user(request: Request, scope: str) -> list[Allowance]:
    most = settings.RATE_LIMITS[scope]
    return (
        [Allowance(f"rate:{scope}:user:{request.user.pk}", most)]
        if most and request.user.is_authenticated
        else []
    )


def _of_address(request: HttpRequest | Request, scope: str, factor: int) -> list[Allowance]:
    most = settings.RATE_LIMITS[scope] * factor
    address = client_ip(request)
    return [Allowance(f"rate:{scope}:address:{address}", most)] if most and address else []


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


class _OwnCounters:
    """Counters of this process, for the current minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._window = 0
        self._counters: Counter[str] = Counter()

    def count(self, keys: list[str], *, window: int) -> list[int]:
        """Increment the counters and return them."""
        with self._lock:
            if window != self._window or len(self._counters) > MAX_OWN_COUNTERS:
                self._window, self._counters = window, Counter()
            self._counters.update(keys)
            return [self._counters[key] for key in keys]


_own_counters = _OwnCounters()


def _count(allowances: list[Allowance], *, own: _OwnCounters | None = None) -> None:
    if not allowances:
        return
    window, passed = divmod(int(time.time()), WINDOW)
    keys = [f"{allowance.key}:{window}" for allowance in allowances]
    counted = _circuit.count(keys)
    if not counted and own is not None:
        counted = own.count(keys, window=window)
    if any(count > allowance.most for count, allowance in zip(counted, allowances, strict=False)):
        raise Problem(TOO_MANY_REQUESTS, headers={"Retry-After": str(WINDOW - passed)})
