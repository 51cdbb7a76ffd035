"""A payment gateway that is not one: it keeps its own books, and misbehaves on request as real ones
do.

The payment method says how (`simulated_methods`). Whoever inserts the row of a key first decides
what becomes of that key, as in a real gateway; so a charge and a void at the same moment cannot
both succeed.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from django.db import transaction
from msgspec.structs import replace

from payments.gateways.base import (
    Absent,
    Authorized,
    Captured,
    ChargeAnswer,
    ChargeRequest,
    Declined,
    FindAnswer,
    Movement,
    PaymentGateway,
    RefundAnswer,
    Refunded,
    RefundRequest,
    Unanswered,
    Voided,
    refuse_open_transactions,
)
from payments.gateways.simulated.ledger import SimulatedCharge, SimulatedIntent
from payments.gateways.simulated.payment_methods import DETAILS, METHODS, UNKNOWN_METHOD, Script
from sagas.ids import uuid7
from sagas.storage import sql

__all__ = ["SimulatedGateway"]

State = SimulatedIntent.State


class Intent(NamedTuple):
    """What became of a key."""

    state: str
    charge_id: str
    amount: int
    decline_code: str
    authorized_until: datetime | None


TIMEOUT = Unanswered("The gateway did not answer in time.")
ERROR_500 = Unanswered("The gateway answered 500.")

# Both insert in the order of the keys, so that two batches cannot wait for each other.
CHARGE = """
    WITH decided AS (
        INSERT INTO payments_simulatedintent AS intent
            (key, state, order_id, amount, currency, payment_method, charge_id, decline_code, authorized_until)
        SELECT key, state, order_id, amount, currency, payment_method, charge_id, decline_code,
               CASE WHEN %(taken)s = 'authorized' THEN clock_timestamp() + make_interval(secs => held) END
          FROM jsonb_to_recordset(%(rows)s::jsonb)
            AS request (key text, state text, order_id uuid, amount bigint, currency text, payment_method text,
                        charge_id text, decline_code text, held float8)
        ORDER BY key
        ON CONFLICT (key) DO UPDATE SET state = %(taken)s WHERE intent.state = 'lost'
        RETURNING key, state, order_id, charge_id, amount, currency, decline_code, authorized_until
    ), booked AS (
        INSERT INTO payments_simulatedcharge (kind, key, order_id, charge_id, amount, currency)
        SELECT 'capture', key, order_id, charge_id, amount, currency FROM decided WHERE state = 'captured'
    )
    SELECT key, state, charge_id, amount, decline_code, authorized_until FROM decided
"""
VOID = """
    INSERT INTO payments_simulatedintent AS intent
        (key, state, order_id, amount, currency, payment_method, charge_id, decline_code)
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb)
        AS request (key text, state text, order_id uuid, amount bigint, currency text, payment_method text,
                    charge_id text, decline_code text)
    ORDER BY key
    ON CONFLICT (key) DO UPDATE SET state = 'void' WHERE intent.state IN ('lost', 'authorized')
    RETURNING key, state, charge_id, amount, decline_code, authorized_until
"""
CAPTURE = """
    WITH held AS (
        SELECT key FROM payments_simulatedintent WHERE key = ANY(%(keys)s::text[]) AND state = 'authorized'
         ORDER BY key FOR NO KEY UPDATE
    ), decided AS (
        UPDATE payments_simulatedintent AS intent
           SET state = CASE WHEN authorized_until > clock_timestamp() THEN 'captured' ELSE 'void' END
          FROM held WHERE intent.key = held.key
        RETURNING intent.key, state, order_id, charge_id, amount, currency, decline_code, authorized_until
    ), booked AS (
        INSERT INTO payments_simulatedcharge (kind, key, order_id, charge_id, amount, currency)
        SELECT 'capture', key, order_id, charge_id, amount, currency FROM decided WHERE state = 'captured'
    )
    SELECT key, state, charge_id, amount, decline_code, authorized_until FROM decided
"""


class SimulatedGateway(PaymentGateway):
    """Moves no money, but keeps a ledger as if it did."""

    def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Capture, decline, or lose the answer, as each payment method says."""
        return _taken(requests, State.CAPTURED)

    def authorize(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Hold the money, decline, or lose the answer, as each payment method says."""
        return _taken(requests, State.AUTHORIZED)

    def capture(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Capture what is held still; whatever else there is under a key, nothing can come of it
        any more.
        """
        with _own_transaction():
            decided = _fates(
                sql.fetch("payments", CAPTURE, {"keys": [request.key for request in requests]})
            )
            others = [request for request in requests if request.key not in decided]
            intents = decided | _voided(others)
        return _answers(requests, _scripts(requests), intents, first=decided)

    def find(self, requests: Sequence[ChargeRequest]) -> list[FindAnswer]:
        """Look up what became of each key."""
        with _own_transaction():
            intents = _intents(requests)
        return [_found(intents.get(request.key)) for request in requests]

    def void(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Bar each key; one that is captured or declined already stays so, and its answer says
        so.
        """
        with _own_transaction():
            intents = _voided(requests)
        return [_answer(intents[request.key]) for request in requests]

    def refund(self, requests: Sequence[RefundRequest]) -> list[RefundAnswer]:
        """Give back each amount once per key, never more than what was captured."""
        charges = [request.charge_id for request in requests]
        with _own_transaction():
            # The lock on the charges makes refunds of one charge wait for each other: their sum is
            # what is checked.
            locked = SimulatedIntent.objects.filter(charge_id__in=charges, state=State.CAPTURED)
            left = {
                intent.charge_id: intent.amount
                for intent in locked.order_by("key").select_for_update()
            }
            refunds = SimulatedCharge.objects.filter(
                charge_id__in=charges, kind=SimulatedCharge.Kind.REFUND
            )
            books = RefundBooks(left, list(refunds))
            answers = [books.refund(request) for request in requests]
            SimulatedCharge.objects.bulk_create(books.new)
        return answers

    def statement(self, since: datetime, until: datetime) -> Iterator[Movement]:
        """Yield what the ledger has of a window."""
        lines = SimulatedCharge.objects.filter(created_at__gte=since, created_at__lt=until)
        for line in lines.order_by("id").iterator():
            yield Movement(
                kind=line.kind,
                id=f"re_{line.key}" if line.kind == SimulatedCharge.Kind.REFUND else line.charge_id,
                charge_id=line.charge_id,
                amount=line.amount,
                currency=line.currency,
                order_id=line.order_id,
                key=line.key,
                at=line.created_at,
            )


class RefundBooks:
    """The refunds of some charges: those there are, and the new ones to be written."""

    def __init__(self, captured: dict[str, int], refunds: Sequence[SimulatedCharge]) -> None:
        self.left = captured
        self.by_key = {refund.key: refund for refund in refunds}
        self.new: list[SimulatedCharge] = []
        for refund in refunds:
            self.left[refund.charge_id] -= refund.amount

    def refund(self, request: RefundRequest) -> RefundAnswer:
        """Answer one request: what was done under its key before, or a new refund if enough is
        left.
        """
        if request.key not in self.by_key:
            if self.left.get(request.charge_id, 0) < request.amount:
                return Declined("charge_already_refunded", "Less than that is left of the charge.")
            self._book(request)
        return Refunded(refund_id=f"re_{request.key}", amount=self.by_key[request.key].amount)

    def _book(self, request: RefundRequest) -> None:
        fields = msgspec.structs.asdict(request)
        del fields["gateway"]
        refund = SimulatedCharge(kind=SimulatedCharge.Kind.REFUND, **fields)
        self.left[request.charge_id] -= request.amount
        self.by_key[request.key] = refund
        self.new.append(refund)


@contextmanager
def _own_transaction() -> Iterator[None]:
    refuse_open_transactions()
    with transaction.atomic(using="payments", durable=True):
        yield


def _taken(requests: Sequence[ChargeRequest], state: SimulatedIntent.State) -> list[ChargeAnswer]:
    """Charge or authorize: what can be taken comes to `state`."""
    scripts = _scripts(requests)
    taking = [
        replace(script, state=state) if script.state == State.CAPTURED else script
        for script in scripts
    ]
    with _own_transaction():
        decided = _decide(CHARGE, requests, taking, taken=state)
        intents = decided | _intents(requests, but=decided)
    return _answers(requests, scripts, intents, first=decided)


def _voided(requests: Sequence[ChargeRequest]) -> dict[str, Intent]:
    """Bar keys; return what became of each."""
    decided = _decide(VOID, requests, [Script(state=State.VOID)] * len(requests))
    return decided | _intents(requests, but=decided)


def _decide(
    statement: str, requests: Sequence[ChargeRequest], scripts: Sequence[Script], **params: str
) -> dict[str, Intent]:
    """Insert the rows of the keys; return those whose fate was decided just now."""
    rows = [
        {
            **msgspec.structs.asdict(request),
            "state": script.state,
            "charge_id": f"ch_{uuid7().hex}",
            "decline_code": script.decline_code,
            "held": script.held,
        }
        for request, script in zip(requests, scripts, strict=True)
    ]
    return _fates(sql.fetch("payments", statement, {"rows": sql.json_rows(rows), **params}))


def _fates(rows: Iterable[tuple[Any, ...]]) -> dict[str, Intent]:
    return {key: Intent(*fate) for key, *fate in rows}


def _scripts(requests: Sequence[ChargeRequest]) -> list[Script]:
    return [METHODS.get(request.payment_method, UNKNOWN_METHOD) for request in requests]


def _intents(requests: Sequence[ChargeRequest], *, but: Container[str] = ()) -> dict[str, Intent]:
    """Return what became of keys, as far as they were ever used.

    In a statement of its own: one that had to wait for another's commit would not see what that
    wrote.
    """
    keys = [request.key for request in requests if request.key not in but]
    rows = SimulatedIntent.objects.filter(key__in=keys).values_list("key", *Intent._fields)
    return _fates(rows) if keys else {}


def _answers(
    requests: Sequence[ChargeRequest],
    scripts: Sequence[Script],
    intents: dict[str, Intent],
    *,
    first: Container[str],
) -> list[ChargeAnswer]:
    """Return the answers to requests, some of which get lost. `first`: the keys whose fate was
    decided by this one.
    """
    return [
        _answer_or_silence(intents[request.key], script, first=request.key in first)
        for request, script in zip(requests, scripts, strict=True)
    ]


def _answer_or_silence(intent: Intent, script: Script, *, first: bool) -> ChargeAnswer:
    if intent.state == State.LOST or (script.times_out and first):
        return TIMEOUT
    if intent.state in (State.AUTHORIZED, State.CAPTURED) and script.always_500:
        return ERROR_500
    return _answer(intent)


def _found(intent: Intent | None) -> FindAnswer:
    return Absent() if intent is None or intent.state == State.LOST else _answer(intent)


def _answer(intent: Intent) -> ChargeAnswer:
    match intent.state:
        case State.AUTHORIZED if intent.authorized_until:
            return Authorized(intent.authorized_until)
        case State.CAPTURED:
            return Captured(intent.charge_id, intent.amount)
        case State.DECLINED:
            return Declined(
                intent.decline_code, DETAILS.get(intent.decline_code, "The payment was declined.")
            )
        case State.VOID:
            return Voided()
    raise ValueError(f"{intent} has no answer.")
