"""Steer the payment sandbox over its control API: slow or hanging calls, errors, and its log."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx

__all__ = ["ERROR", "HANG", "SLOW", "ProviderCall", "SandboxControl"]

PAGE = 1000
# A hanging call is not executed, and its connection stays open without an answer.
HANG = "timeout_lost"
SLOW, ERROR = "slow", "500_lost"


class ProviderCall(NamedTuple):
    """A call that the sandbox received. `at` is Unix time; `order` is None for lists."""

    at: float
    operation: str
    order: str | None
    fault: str | None


class SandboxControl:
    """The behaviour of one sandbox: `slow_down`, `hang` and `fail` add up until `recover`."""

    def __init__(self, address: str) -> None:
        """Steer the sandbox at an address."""
        self._http = httpx.Client(base_url=address, trust_env=False, timeout=30)
        self._last = 0

    def __enter__(self) -> "SandboxControl":
        """Return the control; its connection is closed with the context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def slow_down(self, seconds: float) -> None:
        """Let every call that no earlier rule affects take `seconds` longer."""
        self.add_fault(SLOW, seconds=seconds)

    def hang(self, seconds: float, *, share: float = 1.0, seed: int = 0) -> None:
        """Leave a share of the calls, from 0 to 1, without an answer for `seconds`."""
        self.add_fault(HANG, seconds=seconds, probability=share, seed=seed)

    def fail(self, *, share: float = 1.0, seed: int = 0) -> None:
        """Answer a share of the calls, from 0 to 1, with a 500, and do not execute them."""
        self.add_fault(ERROR, probability=share, seed=seed)

    def add_fault(self, fault: str, *, operation: str = "*", **rule: object) -> None:
        """Add a rule for a fault, as `tools/stripe_sandbox/README.md` describes it.

        It affects an operation without limit, unless `rule` says otherwise. A call gets the fault
        of the first rule that affects it.
        """
        body = {"operation": operation, "fault": fault, "times": None, **rule}
        self._http.post("/sandbox/faults", json=body).raise_for_status()

    def recover(self) -> None:
        """Remove all rules: every call is answered at once."""
        self._http.delete("/sandbox/faults").raise_for_status()

    def new_calls(self) -> list[ProviderCall]:
        """Return the calls since the last time this was asked, oldest first."""
        return list(self._pages())

    def in_flight(self) -> int:
        """Return the number of calls that are being executed."""
        return int(self._read_log(limit=1)["in_flight"])

    def _pages(self) -> Iterator[ProviderCall]:
        has_more = True
        while has_more:
            page = self._read_log(limit=PAGE)
            for call in page["data"]:
                self._last = call["seq"]
                yield ProviderCall(call["at"], call["operation"], call["order_id"], call["fault"])
            has_more = page["has_more"]

    def _read_log(self, *, limit: int) -> dict[str, Any]:
        params = {"after": self._last, "limit": limit}
        answer = self._http.get("/sandbox/calls", params=params)
        return dict(answer.raise_for_status().json())
