"""The calls that clients made, in memory: which operation, when, for which order."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from tools.stripe_sandbox.fault_rules import Fault
from tools.stripe_sandbox.forms import Form
from tools.stripe_sandbox.records import Intent
from tools.stripe_sandbox.store import Store

__all__ = ["CallLog", "subject_of"]

# The oldest calls are forgotten. A restart forgets all of them.
MOST_CALLS = 200_000


class LoggedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call at its arrival. `at` is Unix time; `subject` is an order id or the id in the path."""

    seq: int
    at: float
    operation: str
    subject: str | None
    fault: Fault | None


class CallLog:
    """The newest calls, and the number of calls that are being executed."""

    def __init__(self) -> None:
        """Start without calls."""
        self.in_flight = 0
        self._calls: deque[LoggedCall] = deque(maxlen=MOST_CALLS)
        self._last = 0
        self._lock = threading.Lock()

    @contextmanager
    def recording(
        self, operation: str, *, subject: str | None, fault: Fault | None
    ) -> Iterator[None]:
        """Log a call, and count it as in flight while the context lasts."""
        with self._lock:
            self._last += 1
            self.in_flight += 1
            call = LoggedCall(
                seq=self._last, at=time.time(), operation=operation, subject=subject, fault=fault
            )
            self._calls.append(call)

        try:
            yield
        finally:
            with self._lock:
                self.in_flight -= 1

    def page(self, store: Store, *, after: int, most: int) -> dict[str, Any]:
        """Return at most `most` calls behind the call `after`, oldest first, with their orders."""
        with self._lock:
            skipped = max(0, after - (self._last - len(self._calls)))
            found = [self._calls[index] for index in range(skipped, len(self._calls))[:most]]
            in_flight, last = self.in_flight, self._last

        return {
            "object": "list",
            "data": [_entry(store, call) for call in found],
            "has_more": bool(found) and found[-1].seq < last,
            "in_flight": in_flight,
        }


def subject_of(form: Form, ids: tuple[str, ...]) -> str | None:
    """Return what a call is about: the order in its metadata, or the id in its path."""
    metadata = form.values.get("metadata")
    if isinstance(metadata, dict) and metadata.get("order_id"):
        return str(metadata["order_id"])
    return ids[0] if ids else None


def _entry(store: Store, call: LoggedCall) -> dict[str, Any]:
    return {
        "seq": call.seq,
        "at": call.at,
        "operation": call.operation,
        "order_id": _order_of(store, call.subject),
        "fault": call.fault,
    }


def _order_of(store: Store, subject: str | None) -> str | None:
    if subject is None or not subject.startswith("pi_"):
        return subject
    intent = store.find(Intent, subject)
    return intent.metadata.get("order_id") if intent else None
