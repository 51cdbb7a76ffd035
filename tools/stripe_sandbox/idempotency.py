"""Idempotency keys as Stripe documents them: the first answer is kept and repeated."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import ApiError

__all__ = ["Answer", "InFlight", "in_use", "keep", "recall"]

KEY_LIFETIME_SECONDS = 24 * 3600
MAX_KEY_LENGTH = 255


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of a key. `request` is the id of the first request with the key."""

    status: int
    body: str
    request: str
    replayed: bool = False


class InFlight:
    """The keys of the requests in progress.

    They are kept in memory only, because a kill ends all requests and rolls them back.
    """

    def __init__(self) -> None:
        """Start without keys."""
        self._keys: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, key: str | None) -> Iterator[None]:
        """Hold a key while the context lasts; raise a 409 error if another request holds it."""
        if key is None:
            yield
            return

        if len(key) > MAX_KEY_LENGTH:
            raise ApiError(f"An idempotency key has at most {MAX_KEY_LENGTH} characters.")

        with self._lock:
            if key in self._keys:
                raise in_use()

            self._keys.add(key)

        try:
            yield
        finally:
            with self._lock:
                self._keys.discard(key)


def in_use() -> ApiError:
    """The 409 for a key that another request is using."""
    return ApiError(
        "Another request with this idempotency key is still in progress. Retry when it has ended.",
        status=409,
        type="idempotency_error",
        code="idempotency_key_in_use",
    )


def recall(call: Call, endpoint: str) -> Answer | None:
    """Return the earlier answer of the call's key; raise a 400 error if the request differs.

    A key expires after 24 hours.
    """
    if call.key is None:
        return None

    oldest = call.store.now() - KEY_LIFETIME_SECONDS
    rows = call.store.execute(
        "SELECT endpoint, parameters, status, body, request FROM answer"
        " WHERE key = ? AND created > ?",
        [call.key, oldest],
    )
    if not rows:
        return None

    first_endpoint, parameters, status, body, request = rows[0]
    if (first_endpoint, parameters) != (endpoint, _canonical(call)):
        required = (
            "the same parameters"
            if first_endpoint == endpoint
            else f"the same endpoint, {first_endpoint}"
        )
        raise ApiError(
            f"The idempotency key '{call.key}' was first used with other input. "
            f"Use it only with {required}.",
            type="idempotency_error",
        )

    return Answer(status=status, body=body, request=request, replayed=True)


def keep(call: Call, endpoint: str, answer: Answer) -> None:
    """Keep the answer for the call's key."""
    row = [
        call.key,
        endpoint,
        _canonical(call),
        answer.status,
        answer.body,
        answer.request,
        call.now,
    ]
    call.store.execute("INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def _canonical(call: Call) -> str:
    return json.dumps(call.form.values, sort_keys=True)
