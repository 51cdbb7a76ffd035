"""Idempotency keys, as Stripe documents them: the first answer is kept, whatever it was, and
given again.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import ApiError

__all__ = ["Answer", "InFlight", "in_use", "keep", "recall"]

FORGOTTEN_AFTER_SECONDS = 24 * 3600
LONGEST_KEY = 255


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer under a key: `request` is the id of the one that was first answered so."""

    status: int
    body: str
    request: str
    replayed: bool = False


class InFlight:
    """The keys that are being worked on. Kept in memory: a killed sandbox works on nothing, and
    has done nothing.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._keys: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, key: str | None) -> Iterator[None]:
        """Work on a key; raise the 409 where another request does."""
        if key is None:
            yield
            return
        if len(key) > LONGEST_KEY:
            raise ApiError(f"An idempotency key has at most {LONGEST_KEY} characters.")
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
        "Another request with this idempotency key is still in progress. Ask again once it has ended.",
        status=409,
        type="idempotency_error",
        code="idempotency_key_in_use",
    )


def recall(call: Call, endpoint: str) -> Answer | None:
    """Return what was answered under the call's key; raise the 400 where it was used for something
    else.

    A key is forgotten after 24 hours.
    """
    if call.key is None:
        return None
    oldest = call.books.now() - FORGOTTEN_AFTER_SECONDS
    rows = call.books.execute(
        "SELECT endpoint, parameters, status, body, request FROM answer WHERE key = ? AND created > ?",
        [call.key, oldest],
    )
    if not rows:
        return None
    first_endpoint, parameters, status, body, request = rows[0]
    if (first_endpoint, parameters) != (endpoint, _canonical(call)):
        what = (
            "the same parameters"
            if first_endpoint == endpoint
            else f"the same endpoint, {first_endpoint}"
        )
        raise ApiError(
            f"The idempotency key '{call.key}' was first used with other input: it can only be used again with {what}.",
            type="idempotency_error",
        )
    return Answer(status=status, body=body, request=request, replayed=True)


def keep(call: Call, endpoint: str, answer: Answer) -> None:
    """Keep an answer under the call's key."""
    row = [
        call.key,
        endpoint,
        _canonical(call),
        answer.status,
        answer.body,
        answer.request,
        call.now,
    ]
    call.books.execute("INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def _canonical(call: Call) -> str:
    return json.dumps(call.form.values, sort_keys=True)
