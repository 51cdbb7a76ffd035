"""People and banks that move money at the payment sandbox, outside of the service.

A person refunds or captures a part of a charge by hand. A customer's bank opens a dispute, and
decides it later as won or lost. A bank returns a refund that had succeeded. Only
PAYMENT_GATEWAY=stripe starts a sandbox.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tools.chaos.authorizations import Authorization, Authorizations
from tools.local.provider_ledger import LedgerEntry, ProviderLedger

__all__ = ["DISPUTE", "REFUND", "RETURN", "ProviderMovements", "draw_act"]

PAUSE_SECONDS = 0.2

REFUND, DISPUTE, RETURN = "refund of a part by hand", "dispute", "refund returned by the bank"
CAPTURE = "capture of a part by hand"

# Percentage of the movements of each kind that get an act. Only the saga `authorize_first` has
# authorizations.
SHARES: Mapping[str, Mapping[str, int]] = {
    "authorization": {CAPTURE: 6},
    "capture": {REFUND: 6, DISPUTE: 6},
    "refund": {RETURN: 20},
}

# A dispute is decided after this many further movements at most, so that some end under load.
MOST_MOVEMENTS_OPEN = 60


@dataclass(frozen=True, kw_only=True)
class Act:
    """An act on a movement: its kind, and the part of the amount that a person moves by hand.

    The bank decides a dispute with this `verdict`, after `movements_open` further movements.
    """

    kind: str
    part: float
    verdict: str
    movements_open: int


@dataclass(kw_only=True)
class OpenDispute:
    """A dispute that the bank decides once `due_after` movements were read."""

    id: str
    order: str
    amount: int
    verdict: str
    due_after: int


def draw_act(kind: str, number: int, *, seed: int) -> Act | None:
    """Return the act on the movement of a kind with this number, from 1; None for most of them."""
    rng = random.Random(f"movements {seed} {kind} {number}")
    shares = SHARES.get(kind, {})
    others = 100 - sum(shares.values())
    (drawn,) = rng.choices([*shares, ""], weights=[*shares.values(), others])
    if not drawn:
        return None
    return Act(
        kind=drawn,
        part=rng.uniform(0.1, 0.9),
        verdict=rng.choice(("won", "lost")),
        movements_open=rng.randint(1, MOST_MOVEMENTS_OPEN),
    )


class ProviderMovements:
    """Watches the ledger of a sandbox and acts on a share of its movements.

    `done` counts the acts. `taken` has the amounts, by order id, that refunds by hand and lost
    disputes took from us, in minor units. `captured_by_hand` has the ids of the orders of which a
    person captured a part.
    """

    def __init__(
        self, sandbox: str, *, api_key: str, seed: int, notify: Callable[[str], None]
    ) -> None:
        """Act at the sandbox of this address. Calls `notify` with a line for each act."""
        self.done: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()
        self.captured_by_hand: set[str] = set()
        self._http = httpx.Client(base_url=sandbox, trust_env=False, timeout=30)
        self._seed = seed
        self._notify = notify
        self._ledger = ProviderLedger(self._http)
        self._authorizations = Authorizations(self._http, api_key)
        self._read: Counter[str] = Counter()
        self._open: list[OpenDispute] = []
        self._returned: set[str] = set()
        self._enough = threading.Event()
        self._acts: dict[str, Callable[[LedgerEntry, Act], None]] = {
            REFUND: self._refund_part,
            DISPUTE: self._open_dispute,
            RETURN: self._return_refund,
        }

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Act, in a thread, while the context lasts. Disputes stay open until `decide_all`."""
        with ThreadPoolExecutor(1, thread_name_prefix="movements") as thread:
            acts = thread.submit(self._run)
            try:
                yield
            finally:
                self._enough.set()
            acts.result()

    def decide_all(self) -> None:
        """Decide all open disputes."""
        for dispute in self._open:
            self._decide(dispute)
        self._open.clear()

    def _run(self) -> None:
        while not self._enough.wait(PAUSE_SECONDS):
            for authorization in self._authorizations.new_ones():
                self._capture_part(authorization)
            for entry in self._ledger.new_entries():
                self._act_on(entry)
                self._decide_due()

    def _act_on(self, entry: LedgerEntry) -> None:
        if not entry.is_ours or entry.order is None:
            return

        act = self._draw(entry.kind)
        if act is not None:
            self._acts[act.kind](entry, act)

    def _draw(self, kind: str) -> Act | None:
        self._read[kind] += 1
        return draw_act(kind, self._read[kind], seed=self._seed)

    def _capture_part(self, authorization: Authorization) -> None:
        act = self._draw("authorization")
        if act is None:
            return
        amount = max(1, int(authorization.amount * act.part))
        if self._post("captures", payment_intent=authorization.intent, amount=amount):
            self.captured_by_hand.add(authorization.order)
            self._count(CAPTURE, authorization.order, amount)

    def _refund_part(self, entry: LedgerEntry, act: Act) -> None:
        amount = max(1, int(entry.amount * act.part))
        if self._post("refunds", charge=entry.charge, amount=amount):
            self.taken[entry.order or ""] += amount
            self._count(REFUND, entry.order, amount)

    def _open_dispute(self, entry: LedgerEntry, act: Act) -> None:
        opened = self._post("disputes", charge=entry.charge)
        if opened is None:
            return

        self._count(DISPUTE, entry.order, opened["amount"])
        self._open.append(
            OpenDispute(
                id=opened["id"],
                order=entry.order or "",
                amount=opened["amount"],
                verdict=act.verdict,
                due_after=self._read.total() + act.movements_open,
            )
        )

    def _return_refund(self, entry: LedgerEntry, act: Act) -> None:
        """Let a refund fail, but no second one of the same charge: the service waits for some
        minutes after it.
        """
        if entry.charge in self._returned:
            return
        if self._post(f"refunds/{entry.id}/fail"):
            self._returned.add(entry.charge)
            self._count(RETURN, entry.order, entry.amount)

    def _decide_due(self) -> None:
        due = [each for each in self._open if each.due_after <= self._read.total()]
        for dispute in due:
            self._decide(dispute)
            self._open.remove(dispute)

    def _decide(self, dispute: OpenDispute) -> None:
        if self._post(f"disputes/{dispute.id}", status=dispute.verdict) is None:
            raise RuntimeError(f"The sandbox did not decide the dispute {dispute.id}.")
        if dispute.verdict == "lost":
            self.taken[dispute.order] += dispute.amount
        self.done[f"dispute {dispute.verdict}"] += 1
        self._notify(f"dispute {dispute.id} of order {dispute.order}: {dispute.verdict}")

    def _count(self, act: str, order: str | None, amount: int) -> None:
        self.done[act] += 1
        self._notify(f"{act}: {amount} of order {order}")

    def _post(self, path: str, **body: Any) -> dict[str, Any] | None:
        """Act in the dashboard; return its answer, or None if the charge does not allow the act."""
        answer = self._http.post(f"/sandbox/dashboard/{path}", json=body)
        if answer.status_code == httpx.codes.BAD_REQUEST:
            return None
        answer.raise_for_status()
        data: dict[str, Any] = answer.json()
        return data
