"""Refunds at the simulated gateway: the rest of a charge or a part of it, each key once, and never
more than was captured.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from itertools import count
from typing import TypeAlias

from django.utils import timezone
from msgspec.structs import replace

from payments.gateways.base import (
    Declined,
    Dispute,
    DisputeStatus,
    PartRefundAnswer,
    PartRefunded,
    PartRefundRequest,
    PartSoFar,
    Pending,
    RefundAnswer,
    Refunded,
    RefundRequest,
    Unanswered,
)
from payments.gateways.refund_keys import is_key_of
from payments.gateways.simulated.balances import ChargeMoney, money_of, refund_id
from payments.gateways.simulated.ledger import SimulatedCharge, SimulatedIntent, SimulatedRefund
from payments.gateways.simulated.payment_methods import METHODS, UNKNOWN_METHOD, FirstRefund

__all__ = ["refund_charges", "refund_parts"]

NOT_CAPTURED = Declined("charge_not_captured", "The gateway has captured no such charge.")
ERROR_500 = Unanswered("The simulated gateway answered 500 to the refund.")
# The simulated bank's own limit, from the request that finds the refund undecided.
REFUND_TAKES = timedelta(minutes=1)
TIMEOUT = Unanswered("The simulated gateway did not answer the refund in time.")

AnyRequest: TypeAlias = RefundRequest | PartRefundRequest


def refund_charges(requests: Sequence[RefundRequest]) -> list[RefundAnswer]:
    """Write the refunds that the charges' money allows. Call it inside a transaction.

    The lock on a charge makes its refunds wait for each other, because their sum is checked.
    """
    refunds = _Refunds.of({request.charge_id for request in requests})
    answers = [refunds.refund(request) for request in requests]
    refunds.save()
    return answers


def refund_parts(requests: Sequence[PartRefundRequest]) -> list[PartRefundAnswer]:
    """Write the refunds of parts that the charges' money allows. Otherwise as `refund_charges`."""
    refunds = _Refunds.of({request.charge_id for request in requests})
    answers = [refunds.refund_part(request) for request in requests]
    refunds.save()
    return answers


class _Refunds:
    """The refunds of some locked charges: the existing ones, and the new ones to write."""

    def __init__(self, methods: dict[str, str], money: dict[str, ChargeMoney]) -> None:
        self.methods = methods
        self.money = money
        self.made: list[SimulatedCharge] = []
        self.unfinished: list[SimulatedRefund] = []
        self.bounced: list[str] = []

    @classmethod
    def of(cls, charges: Collection[str]) -> "_Refunds":
        """Lock the captured ones of some charges."""
        captured = SimulatedIntent.objects.filter(
            charge_id__in=charges, state=SimulatedIntent.State.CAPTURED
        )
        locked = captured.order_by("key").select_for_update()
        methods = {intent.charge_id: intent.payment_method for intent in locked}
        return cls(methods, money_of(list(methods)))

    def refund(self, request: RefundRequest) -> RefundAnswer:
        """Give back the rest of a charge, unless a refund or a dispute is still undecided."""
        money = self.money.get(request.charge_id)
        if money is None:
            return NOT_CAPTURED

        self._bounce(money, request)
        balance = money.balance()
        wanted = min(request.amount, balance.captured)
        if balance.refunded + money.lost >= wanted:
            return _refunded(money)
        if dispute := money.dispute_with(DisputeStatus.OPEN):
            return _waiting_for_dispute(dispute)

        rest = wanted - balance.refunded - balance.refund_pending - money.lost
        lost_answer = self._make(money, request, rest) if rest > 0 else None
        if lost_answer:
            return lost_answer
        is_waiting = rest <= 0 or money.pending
        return _waiting_for_refund(money) if is_waiting else _refunded(money)

    def refund_part(self, request: PartRefundRequest) -> PartRefundAnswer:
        """Give back a part of a charge, unless a refund or a dispute is still undecided."""
        money = self.money.get(request.charge_id)
        if money is None:
            return NOT_CAPTURED

        self._bounce(money, request)
        answer = self._answer_for_part(money, request)
        if isinstance(answer, Pending):
            given_back = money.given_back(request.key)
            part = PartSoFar.of(request.amount, given_back=given_back, left=_left(money))
            return replace(answer, part=part)
        return answer

    def _answer_for_part(self, money: ChargeMoney, request: PartRefundRequest) -> PartRefundAnswer:
        if _left(money) <= 0 or money.given_back(request.key) >= request.amount:
            return _part_refunded(money, request)
        if dispute := money.dispute_with(DisputeStatus.OPEN):
            return _waiting_for_dispute(dispute)
        if money.is_pending(request.key):
            return _waiting_for_refund(money)
        return self._refund_rest_of_part(money, request)

    def _refund_rest_of_part(
        self, money: ChargeMoney, request: PartRefundRequest
    ) -> PartRefundAnswer:
        """Refund the missing amount of a part, as far as pending refunds leave it."""
        missing = request.amount - money.given_back(request.key)
        rest = min(missing, money.balance().remaining)
        lost_answer = self._make(money, request, rest) if rest > 0 else None
        if lost_answer:
            return lost_answer
        is_waiting = rest < missing and money.pending
        return _waiting_for_refund(money) if is_waiting else _part_refunded(money, request)

    def save(self) -> None:
        """Write the new refunds."""
        if self.bounced:
            failed = SimulatedRefund.State.FAILED
            SimulatedRefund.objects.filter(key__in=self.bounced).update(state=failed)
        if self.unfinished:
            SimulatedRefund.objects.bulk_create(self.unfinished)
        if self.made:
            SimulatedCharge.objects.bulk_create(self.made)

    def _make(
        self, money: ChargeMoney, request: AnyRequest, amount: int
    ) -> Pending | Unanswered | None:
        """Refund an amount under the next unused key; return the answer if that is not known."""
        key = next(key for key in _keys(request.key) if not money.uses(key))
        first = key == request.key
        behaviour = METHODS.get(self.methods[request.charge_id], UNKNOWN_METHOD)
        match behaviour.first_refund:
            case FirstRefund.BOUNCES if first:
                money.pending[key] = amount
                self._write(SimulatedRefund.State.PENDING, key, request, amount)
                return _waiting_for_refund(money)
            case FirstRefund.ERROR if first:
                money.failed[key] = amount
                self._write(SimulatedRefund.State.FAILED, key, request, amount)
                return ERROR_500

        money.refunds[key] = amount
        self._book(key, request, amount)
        if first and behaviour.first_refund == FirstRefund.TIMES_OUT:
            return TIMEOUT
        return None

    def _bounce(self, money: ChargeMoney, request: AnyRequest) -> None:
        """Let the pending first refund of a method that bounces fail."""
        behaviour = METHODS.get(self.methods[request.charge_id], UNKNOWN_METHOD)
        if behaviour.first_refund == FirstRefund.BOUNCES and request.key in money.pending:
            money.failed[request.key] = money.pending.pop(request.key)
            self.bounced.append(request.key)

    def _write(
        self, state: SimulatedRefund.State, key: str, request: AnyRequest, amount: int
    ) -> None:
        self.unfinished.append(
            SimulatedRefund(
                key=key,
                state=state,
                order_id=request.order_id,
                charge_id=request.charge_id,
                amount=amount,
                currency=request.currency,
            )
        )

    def _book(self, key: str, request: AnyRequest, amount: int) -> None:
        self.made.append(
            SimulatedCharge(
                kind=SimulatedCharge.Kind.REFUND,
                key=key,
                order_id=request.order_id,
                charge_id=request.charge_id,
                amount=amount,
                currency=request.currency,
            )
        )


def _keys(key: str) -> Iterator[str]:
    """Yield a refund's key and its successors. All workers use the same sequence."""
    yield key
    yield from (f"{key}-{number}" for number in count(2))


def _waiting_for_refund(money: ChargeMoney) -> Pending:
    refund = refund_id(next(iter(money.pending)))
    return Pending(
        f"The simulated gateway has not finished the refund {refund} yet.",
        timezone.now() + REFUND_TAKES,
    )


def _waiting_for_dispute(dispute: Dispute) -> Pending:
    return Pending(
        f"The refund waits for the dispute {dispute.id}, which has withdrawn the money. If the "
        "dispute is lost, the customer has the money; if it is won, the refund goes on.",
        dispute.respond_by,
    )


def _left(money: ChargeMoney) -> int:
    """Return the captured amount that the customer does not have back."""
    return money.captured - sum(money.refunds.values()) - money.lost


def _refunded(money: ChargeMoney) -> Refunded:
    """Return the answer for a charge whose whole amount is given back."""
    lost = money.dispute_with(DisputeStatus.LOST)
    reference = refund_id(list(money.refunds)[-1]) if money.refunds else lost.id if lost else ""
    return Refunded(reference, sum(money.refunds.values()), money.lost)


def _part_refunded(money: ChargeMoney, request: PartRefundRequest) -> PartRefunded:
    """Return the answer for a part that is given back, or for a charge with nothing left."""
    whole = _refunded(money)
    own = [key for key in money.refunds if is_key_of(key, request.key)]
    return PartRefunded(
        refund_id=refund_id(own[-1]) if own else whole.refund_id,
        amount=money.given_back(request.key),
        total=whole.amount,
        disputed=whole.disputed,
    )
