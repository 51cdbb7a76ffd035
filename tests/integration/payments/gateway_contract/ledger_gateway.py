"""A third gateway, known by its dotted path only: a ledger in the memory of a process.

It is as small as the interface allows, and shows what a gateway of another package has to do. One
lock makes each request a transaction.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import TypeVar
from uuid import UUID, uuid4

from payments.gateways.base import (
    Absent,
    Authorized,
    BalanceAnswer,
    Captured,
    ChargeAnswer,
    ChargeBalance,
    ChargeRequest,
    Declined,
    Dispute,
    DisputeStatus,
    FindAnswer,
    Movement,
    PartRefundAnswer,
    PartRefunded,
    PartRefundRequest,
    PaymentGateway,
    Pending,
    RefundAnswer,
    Refunded,
    RefundRequest,
    Unanswered,
    Voided,
    refuse_open_transactions,
)

__all__ = ["BANK", "Bank", "LedgerGateway"]

AUTHORIZATION_LASTS = timedelta(days=7)
DECISION_TAKES = timedelta(days=60)
LEAST, MOST = 1, 10_000_000
CURRENCIES = {"eur", "usd", "jpy", "kwd"}

Request = TypeVar("Request", ChargeRequest, RefundRequest, PartRefundRequest)
Answer = TypeVar("Answer")


@dataclass
class Charge:
    """A charge in the ledger, or a key that is barred or declined."""

    id: str
    state: ChargeAnswer
    request: ChargeRequest
    captured: int = 0
    refunds: list[Movement] = field(default_factory=list)
    disputes: list[Dispute] = field(default_factory=list)

    def balance(self) -> ChargeBalance:
        """Return the sums of the charge."""
        return ChargeBalance(
            charge_id=self.id,
            captured=self.captured,
            refunded=sum(refund.amount for refund in self.refunds),
            disputes=tuple(self.disputes),
        )


class Bank:
    """The ledger of all charges. Its methods are also the acts of a person at the bank."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.charges: dict[str, Charge] = {}
        self.movements: list[Movement] = []

    def clear(self) -> None:
        """Forget all charges."""
        self.charges.clear()
        self.movements.clear()

    def find(self, charge_id: str) -> Charge | None:
        """Return a captured charge by its id."""
        return next((each for each in self.charges.values() if each.id == charge_id), None)

    def capture(self, charge: Charge, amount: int) -> Captured:
        """Take an amount of a charge."""
        charge.captured = amount
        charge.state = Captured(charge.id, amount)
        self.write(charge, "capture", charge.id, amount, key=charge.request.key)
        return charge.state

    def refund(self, charge: Charge, amount: int, *, key: str = "") -> None:
        """Give back an amount of a charge. A refund by hand has no key."""
        line = self.write(charge, "refund", f"re_{uuid4().hex}", amount, key=key)
        charge.refunds.append(line)

    def open_dispute(self, charge: Charge, amount: int) -> str:
        """Withdraw an amount of a charge."""
        now = datetime.now(UTC)
        dispute = Dispute(
            id=f"dp_{uuid4().hex}",
            amount=amount,
            status=DisputeStatus.OPEN,
            reason="fraudulent",
            opened_at=now,
            respond_by=now + timedelta(days=9),
        )
        charge.disputes.append(dispute)
        self.write(charge, "dispute", dispute.id, amount)
        return dispute.id

    def close_dispute(self, dispute_id: str, *, won: bool) -> None:
        """Decide a dispute. A won dispute returns its amount."""
        for charge in self.charges.values():
            for index, dispute in enumerate(charge.disputes):
                if dispute.id == dispute_id:
                    charge.disputes[index] = Dispute(
                        id=dispute.id,
                        amount=dispute.amount,
                        status=DisputeStatus.WON if won else DisputeStatus.LOST,
                        reason=dispute.reason,
                        opened_at=dispute.opened_at,
                    )
                    if won:
                        self.write(charge, "dispute_return", dispute.id, dispute.amount)

    def write(self, charge: Charge, kind: str, id_: str, amount: int, *, key: str = "") -> Movement:
        """Write a line. A refund without a key is no act of ours, so it names no order."""
        line = Movement(
            kind=kind,  # type: ignore[arg-type]
            id=id_,
            charge_id=charge.id,
            amount=amount,
            currency=charge.request.currency,
            order_id=None if kind == "refund" and not key else charge.request.order_id,
            key=key,
            at=datetime.now(UTC),
        )
        self.movements.append(line)
        return line

    def lines_of(self, order: UUID) -> Iterator[Movement]:
        """Yield the lines of an order's charges."""
        charges = {each.id for each in self.charges.values() if each.request.order_id == order}
        return (line for line in self.movements if line.charge_id in charges)


BANK = Bank()


class LedgerGateway(PaymentGateway):
    """A gateway whose bank is in the memory of this process."""

    @classmethod
    def reason_not_chargeable(cls, amount: int, currency: str) -> str:
        """Return a reason for other currencies, and for amounts outside of the limits."""
        if currency not in CURRENCIES:
            return f"The bank does not charge in {currency.upper()}."
        if not LEAST <= amount <= MOST:
            return f"The bank charges from {LEAST} to {MOST} minor units."
        return ""

    def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Take the money of each key once."""
        return _each(requests, self._charge)

    def authorize(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Hold the money of each key."""
        return _each(requests, self._open)

    def capture(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Take the held money, and bar the other keys."""
        return _each(requests, self._capture)

    def find(self, requests: Sequence[ChargeRequest]) -> list[FindAnswer]:
        """Look up each key."""
        return _each(requests, self._find)

    def void(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Bar each key."""
        return _each(requests, self._void)

    def refund(self, requests: Sequence[RefundRequest]) -> list[RefundAnswer]:
        """Give back the rest of each charge."""
        return _each(requests, self._refund)

    def refund_part(self, requests: Sequence[PartRefundRequest]) -> list[PartRefundAnswer]:
        """Give back a part of each charge."""
        return _each(requests, self._refund_part)

    def balance(self, requests: Sequence[ChargeRequest]) -> list[BalanceAnswer]:
        """Sum up each charge."""
        return _each(requests, self._balance)

    def statement(self, since: datetime, until: datetime) -> Iterator[Movement]:
        """Yield the lines of a window."""
        refuse_open_transactions()
        with BANK.lock:
            lines = list(BANK.movements)
        return (line for line in lines if since <= line.at < until)

    def _open(self, request: ChargeRequest) -> ChargeAnswer:
        known = BANK.charges.get(request.key)
        if known:
            return known.state

        state: ChargeAnswer = Authorized(datetime.now(UTC) + AUTHORIZATION_LASTS)
        if reason := self.reason_not_chargeable(request.amount, request.currency):
            state = Declined("not_chargeable", reason)
        elif request.payment_method not in {"pm_ok", "pm_lost_answer"}:
            state = Declined("declined", "The bank declined the payment.")
        BANK.charges[request.key] = Charge(f"ch_{uuid4().hex}", state, request)
        return state

    def _charge(self, request: ChargeRequest) -> ChargeAnswer:
        is_new = request.key not in BANK.charges
        answer = self._capture(request) if isinstance(self._open(request), Authorized) else None
        answer = answer or BANK.charges[request.key].state
        if is_new and request.payment_method == "pm_lost_answer":
            return Unanswered("The connection to the bank broke.")
        return answer

    def _capture(self, request: ChargeRequest) -> ChargeAnswer:
        charge = BANK.charges.get(request.key)
        if charge is None:
            return self._void(request)
        if isinstance(charge.state, Authorized):
            return BANK.capture(charge, charge.request.amount)
        return charge.state

    def _find(self, request: ChargeRequest) -> FindAnswer:
        charge = BANK.charges.get(request.key)
        return charge.state if charge else Absent()

    def _void(self, request: ChargeRequest) -> ChargeAnswer:
        charge = BANK.charges.setdefault(
            request.key, Charge(f"ch_{uuid4().hex}", Voided(), request)
        )
        if isinstance(charge.state, Authorized):
            charge.state = Voided()
        return charge.state

    def _refund(self, request: RefundRequest) -> RefundAnswer:
        charge = BANK.find(request.charge_id)
        if charge is None or not charge.captured:
            return Declined("not_captured", "The bank has captured no such charge.")

        balance = charge.balance()
        lost = [each for each in charge.disputes if each.status == DisputeStatus.LOST]
        returned = sum(each.amount for each in lost)
        rest = min(request.amount, balance.captured) - balance.refunded - returned
        if rest > 0 and any(each.status == DisputeStatus.OPEN for each in charge.disputes):
            return Pending("A dispute is open.", datetime.now(UTC) + DECISION_TAKES)
        if rest > 0:
            BANK.refund(charge, rest, key=request.key)

        references = [
            *(each.id for each in reversed(charge.refunds)),
            *(each.id for each in lost),
        ]
        return Refunded(references[0], charge.balance().refunded, returned)

    def _refund_part(self, request: PartRefundRequest) -> PartRefundAnswer:
        charge = BANK.find(request.charge_id)
        if charge is None or not charge.captured:
            return Declined("not_captured", "The bank has captured no such charge.")

        own = [each for each in charge.refunds if each.key == request.key]
        lost = [each for each in charge.disputes if each.status == DisputeStatus.LOST]
        unreturned = charge.captured - charge.balance().refunded - sum(each.amount for each in lost)
        missing = min(request.amount - sum(each.amount for each in own), unreturned)
        if missing > 0 and any(each.status == DisputeStatus.OPEN for each in charge.disputes):
            return Pending("A dispute is open.", datetime.now(UTC) + DECISION_TAKES)
        if (rest := min(missing, charge.balance().remaining)) > 0:
            BANK.refund(charge, rest, key=request.key)
            own.append(charge.refunds[-1])
        references = [
            *(each.id for each in reversed([*charge.refunds, *own])),
            *(each.id for each in lost),
        ]
        return PartRefunded(
            references[0] if references else "",
            sum(each.amount for each in own),
            charge.balance().refunded,
            sum(each.amount for each in lost),
        )

    def _balance(self, request: ChargeRequest) -> BalanceAnswer:
        charge = BANK.charges.get(request.key)
        return charge.balance() if charge and charge.captured else Absent()


def _each(requests: Sequence[Request], act: Callable[[Request], Answer]) -> list[Answer]:
    refuse_open_transactions()
    with BANK.lock:
        return [act(request) for request in requests]
