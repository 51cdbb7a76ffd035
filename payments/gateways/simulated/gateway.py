"""The simulated gateway. It keeps a ledger of its own, and can fail as real gateways do.

The payment method decides how it behaves (`payment_methods`). The first request that inserts a
key's row decides what becomes of the key, so a charge and a void of one key cannot both succeed.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from django.db import transaction
from django.db.models.functions import Coalesce
from msgspec.structs import replace

from payments.gateways.base import (
    Absent,
    Authorized,
    BalanceAnswer,
    Captured,
    ChargeAnswer,
    ChargeRequest,
    Declined,
    FindAnswer,
    Movement,
    PartRefundAnswer,
    PartRefundRequest,
    PaymentGateway,
    RefundAnswer,
    RefundRequest,
    Unanswered,
    Voided,
    refuse_open_transactions,
)
from payments.gateways.simulated import statements
from payments.gateways.simulated.aftermath import NewCapture, act_after_captures
from payments.gateways.simulated.balances import (
    ChargeMoney,
    decide_disputes,
    money_of,
)
from payments.gateways.simulated.currencies import CURRENCIES
from payments.gateways.simulated.ledger import SimulatedCharge, SimulatedIntent
from payments.gateways.simulated.movements import movement
from payments.gateways.simulated.payment_methods import (
    DECLINE_DETAILS,
    NOT_CHARGEABLE,
    Behaviour,
    behaviour_of,
)
from payments.gateways.simulated.refunds import refund_charges, refund_parts
from sagas import sql
from sagas.ids import uuid7

__all__ = ["SimulatedGateway"]

State = SimulatedIntent.State

TIMEOUT = Unanswered("The simulated gateway did not answer in time.")
ERROR_500 = Unanswered("The simulated gateway answered 500.")


class KeyState(NamedTuple):
    """The state of an idempotency key, as the columns of its row."""

    state: str
    charge_id: str
    amount: int
    decline_code: str
    authorized_until: datetime | None


class SimulatedGateway(PaymentGateway):
    """Moves no money, but keeps a ledger as if it did."""

    answers_at_once = True

    @classmethod
    def reason_not_chargeable(cls, amount: int, currency: str) -> str:
        """Return a reason for amounts below 1 and currencies outside of ISO 4217."""
        return CURRENCIES.reason_not_chargeable(amount, currency)

    def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Capture, decline, or lose the answer, as each payment method says."""
        return _take(requests, State.CAPTURED)

    def authorize(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Hold the money, decline, or lose the answer, as each payment method says."""
        return _take(requests, State.AUTHORIZED)

    def capture(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Capture the authorized keys, and void the other unused ones."""
        keys = [request.key for request in requests]
        with _own_transaction():
            decided = _by_key(sql.fetch("payments", statements.CAPTURE, {"keys": keys}))
            others = [request for request in requests if request.key not in decided]
            states = decided | _void(others)
            _act_after_captures(requests, decided)
        return _answers(requests, _behaviours(requests), states, decided_now=decided)

    def find(self, requests: Sequence[ChargeRequest]) -> list[FindAnswer]:
        """Look up what became of each key."""
        with _own_transaction():
            states = _read_states(requests)
        return [_find_answer(states.get(request.key)) for request in requests]

    def void(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Bar each key. A captured or declined key stays as it is, and its answer says so."""
        with _own_transaction():
            states = _void(requests)
        return [_answer(states[request.key]) for request in requests]

    def refund(self, requests: Sequence[RefundRequest]) -> list[RefundAnswer]:
        """Give back the rest of each charge, never more than was captured."""
        with _own_transaction():
            return refund_charges(requests)

    def refund_part(self, requests: Sequence[PartRefundRequest]) -> list[PartRefundAnswer]:
        """Give back a part of each charge, never more than is left of it."""
        with _own_transaction():
            return refund_parts(requests)

    def balance(self, requests: Sequence[ChargeRequest]) -> list[BalanceAnswer]:
        """Sum up the ledger's lines of each key's charge."""
        with _own_transaction():
            states = _read_states(requests)
            money = money_of([state.charge_id for state in states.values()])
        return [_balance(states.get(request.key), money) for request in requests]

    def statement(self, since: datetime, until: datetime) -> Iterator[Movement]:
        """Yield the ledger's lines of a window."""
        with _own_transaction():
            decide_disputes()
        lines = SimulatedCharge.objects.filter(created_at__gte=since, created_at__lt=until)
        return (movement(line) for line in lines.order_by("id").iterator())


@contextmanager
def _own_transaction() -> Iterator[None]:
    refuse_open_transactions()
    with transaction.atomic(using="payments", durable=True):
        yield


def _take(requests: Sequence[ChargeRequest], taken: SimulatedIntent.State) -> list[ChargeAnswer]:
    """Charge or authorize: a key that succeeds gets the state `taken`."""
    behaviours = _behaviours(requests)
    first_states = [
        _first_state(request, behaviour, taken)
        for request, behaviour in zip(requests, behaviours, strict=True)
    ]
    with _own_transaction():
        decided = _decide(statements.CHARGE, requests, first_states, taken=taken)
        states = decided | _read_states(requests, skip=decided)
        _act_after_captures(requests, decided)
    return _answers(requests, behaviours, states, decided_now=decided)


def _first_state(
    request: ChargeRequest, behaviour: Behaviour, taken: SimulatedIntent.State
) -> Behaviour:
    if CURRENCIES.reason_not_chargeable(request.amount, request.currency):
        return NOT_CHARGEABLE
    return replace(behaviour, state=taken) if behaviour.state == State.CAPTURED else behaviour


def _void(requests: Sequence[ChargeRequest]) -> dict[str, KeyState]:
    """Bar keys; return the state of each."""
    voided = [Behaviour(state=State.VOID)] * len(requests)
    decided = _decide(statements.VOID, requests, voided)
    return decided | _read_states(requests, skip=decided)


def _decide(
    statement: str,
    requests: Sequence[ChargeRequest],
    behaviours: Sequence[Behaviour],
    **params: str,
) -> dict[str, KeyState]:
    """Insert the rows of the keys; return the keys that this statement decided."""
    rows = [
        {
            **msgspec.structs.asdict(request),
            "state": behaviour.state,
            "charge_id": f"ch_{uuid7().hex}",
            "decline_code": behaviour.decline_code,
            "captured_amount": behaviour.captured_amount(request.amount),
            "held": behaviour.authorization_seconds,
        }
        for request, behaviour in zip(requests, behaviours, strict=True)
    ]
    return _by_key(sql.fetch("payments", statement, {"rows": sql.json_rows(rows), **params}))


def _read_states(
    requests: Sequence[ChargeRequest], *, skip: Container[str] = ()
) -> dict[str, KeyState]:
    """Return the states of the keys that have a row.

    This is a statement of its own, because a statement that had to wait for another's commit does
    not see the other's rows.
    """
    keys = [request.key for request in requests if request.key not in skip]
    if not keys:
        return {}
    rows = SimulatedIntent.objects.filter(key__in=keys)
    taken = Coalesce("captured_amount", "amount")
    return _by_key(
        rows.values_list("key", "state", "charge_id", taken, "decline_code", "authorized_until")
    )


def _by_key(rows: Iterable[tuple[Any, ...]]) -> dict[str, KeyState]:
    return {key: KeyState(*columns) for key, *columns in rows}


def _behaviours(requests: Sequence[ChargeRequest]) -> list[Behaviour]:
    return [behaviour_of(request) for request in requests]


def _act_after_captures(
    requests: Sequence[ChargeRequest], decided_now: dict[str, KeyState]
) -> None:
    captured = [
        NewCapture(request, key.charge_id, key.amount)
        for request in requests
        if (key := decided_now.get(request.key)) and key.state == State.CAPTURED
    ]
    act_after_captures(captured)


def _answers(
    requests: Sequence[ChargeRequest],
    behaviours: Sequence[Behaviour],
    states: dict[str, KeyState],
    *,
    decided_now: Container[str],
) -> list[ChargeAnswer]:
    """Return the answers to requests, some of which are lost. `decided_now`: the keys that these
    requests decided.
    """
    return [
        _answer_or_failure(states[request.key], behaviour, decided_now=request.key in decided_now)
        for request, behaviour in zip(requests, behaviours, strict=True)
    ]


def _answer_or_failure(key: KeyState, behaviour: Behaviour, *, decided_now: bool) -> ChargeAnswer:
    if key.state == State.LOST or (behaviour.times_out and decided_now):
        return TIMEOUT
    if key.state in (State.AUTHORIZED, State.CAPTURED) and behaviour.always_500:
        return ERROR_500
    return _answer(key)


def _find_answer(key: KeyState | None) -> FindAnswer:
    return Absent() if key is None or key.state == State.LOST else _answer(key)


def _balance(key: KeyState | None, money: dict[str, ChargeMoney]) -> BalanceAnswer:
    if key is None or key.state != State.CAPTURED:
        return Absent()
    return money[key.charge_id].balance()


def _answer(key: KeyState) -> ChargeAnswer:
    match key.state:
        case State.AUTHORIZED if key.authorized_until:
            return Authorized(key.authorized_until)
        case State.CAPTURED:
            return Captured(key.charge_id, key.amount)
        case State.DECLINED:
            detail = DECLINE_DETAILS.get(key.decline_code, "The payment was declined.")
            return Declined(key.decline_code, detail)
        case State.VOID:
            return Voided()
    raise ValueError(f"The simulated gateway has no answer for a key in state {key.state!r}.")
