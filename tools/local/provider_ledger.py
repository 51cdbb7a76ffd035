"""The ledger of the payment sandbox: each movement of money at the provider."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import httpx

__all__ = ["LedgerEntry", "ProviderLedger", "money_left", "read_ledger"]

PAGE = 1000

# The movements that bring money to us. All others take it from us.
INCOMING = ("capture", "dispute_return")


class LedgerEntry(NamedTuple):
    """A movement. `amount` is in minor units. `is_ours`: the service made it, no other person."""

    kind: str
    id: str
    charge: str
    amount: int
    order: str | None
    failed: bool
    is_ours: bool


class ProviderLedger:
    """Reads a ledger from its beginning to its end, page by page."""

    def __init__(self, http: httpx.Client) -> None:
        """Read through a client whose base is the address of the sandbox."""
        self._http = http
        self._last = 0

    def new_entries(self) -> Iterator[LedgerEntry]:
        """Yield the entries that no earlier call has yielded, oldest first."""
        has_more = True
        while has_more:
            params = {"after": self._last, "limit": PAGE}
            answer = self._http.get("/sandbox/ledger", params=params).raise_for_status().json()
            for entry in answer["data"]:
                self._last = entry["seq"]
                yield _entry(entry)
            has_more = answer["has_more"]


def read_ledger(sandbox: str) -> list[LedgerEntry]:
    """Return all entries of the sandbox at an address."""
    with httpx.Client(base_url=sandbox, trust_env=False, timeout=30) as http:
        return list(ProviderLedger(http).new_entries())


def money_left(entries: Iterable[LedgerEntry]) -> Counter[str]:
    """Return the money that we have of each order, in minor units. Failed refunds moved none."""
    left: Counter[str] = Counter()
    for entry in entries:
        if not entry.failed:
            left[entry.order or ""] += entry.amount if entry.kind in INCOMING else -entry.amount
    return left


def _entry(entry: dict[str, Any]) -> LedgerEntry:
    return LedgerEntry(
        kind=entry["kind"],
        id=entry["id"],
        charge=entry["charge"],
        amount=entry["amount"],
        order=entry["order_id"],
        failed=entry["status"] == "failed",
        is_ours=entry["kind"] == "capture" or bool(entry["metadata"].get("key")),
    )
