"""Events that no row has any more, and that the messages after them prove.

A step that was requested proves the event that requested it. The timeline may lack that event: it
travels in a message of its own, which a crash can lose. The step must not run again, because it
could have another result: stock that was reserved before may be gone.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from inventory.events import StockBarred, StockReleased, StockReserved, StockUnavailable
from payments.events import (
    PaymentAuthorized,
    PaymentExpiring,
    PaymentFailed,
    PaymentProcessed,
    PaymentRefunded,
    PaymentVoided,
    PaymentWithheld,
)
from recovery.journal import Event, Journal
from sagas.definition.plan import Direction, service_name
from sagas.definition.plan import Plan as SagaPlan
from sagas.ids import uuid7

__all__ = ["Received", "proven_events", "received"]

# A key in the data of a proven event, for the readers of the timeline.
RECOVERED = "recovered"

RESERVE = "inventory.reserve"

# Only the events of these services are known here. The step of another service runs again.
PROVEN = ("payments", "inventory")


class Received(NamedTuple):
    """A request that a step has received: the position of its event, and its context."""

    step: str
    seq: int
    context: dict[str, Any]


class Fact(NamedTuple):
    """The event that a step or a cancel wrote: its type, its step and its data."""

    type: str
    step: str
    data: dict[str, Any]


def received(journal: Journal, service: str) -> list[Received]:
    """Return the requests that the steps of other services have received."""
    by_events = [
        Received(event.step, event.seq - 1, event.context or {})
        for event in journal.events
        if event.stored and event.service != service and event.step and event.is_change
    ]
    by_rows = [
        Received(step, stored.message.seq, stored.message.context)
        for step, stored in journal.messages.items()
        if service_name(step) != service
    ]
    return [*by_events, *by_rows]


def proven_events(journal: Journal, plan: SagaPlan, service: str) -> Iterator[Event]:
    """Yield the events of payments or inventory that requests prove and no row has."""
    first = journal.first
    # Only orders have the steps below.
    if first is None or journal.other is not None or service not in PROVEN:
        return
    written = {event.step for event in journal.changes(service) if event.step}
    for request in received(journal, service):
        if journal.request(request.step, request.seq):
            continue
        fact = _fact(journal, plan, service, request)
        if fact and fact.step not in written:
            written.add(fact.step)
            yield _event(first, service, request, fact)
            if before := _given_up(journal, plan, request, fact):
                refusal = Fact(StockUnavailable.type, RESERVE, _failure(before))
                yield _event(first, service, before, refusal)


def _given_up(journal: Journal, plan: SagaPlan, request: Received, fact: Fact) -> Received | None:
    """Return the request that a reservation wrote to its own undo, because it was given up."""
    seq = request.seq - 1
    is_undo = fact.step == "inventory.release" and seq == _position(plan, RESERVE)
    if not is_undo or journal.request(fact.step, seq):
        return None
    return Received(fact.step, seq, request.context)


def _fact(journal: Journal, plan: SagaPlan, service: str, request: Received) -> Fact | None:
    if plan.direction(request.step) is Direction.FORWARD:
        fact = _forward(journal, plan, request)
    else:
        fact = _back(journal, plan, service, request)
    writer = fact.step if fact else ""
    return fact if fact and (not writer or service_name(writer) == service) else None


def _forward(journal: Journal, plan: SagaPlan, request: Received) -> Fact | None:
    """Return the event of the step before: it was done."""
    before = next((step.name for step in plan.actions if plan.after(step.name) == request.step), "")
    match before:
        case "payments.charge" | "payments.capture":
            return Fact(PaymentProcessed.type, before, _money(request))
        case "payments.authorize":
            return Fact(PaymentAuthorized.type, before, _money(request))
        case "inventory.reserve":
            pieces = sum(quantity for _, quantity in journal.lines)
            return Fact(StockReserved.type, before, {"pieces": pieces})
    return None


def _back(journal: Journal, plan: SagaPlan, service: str, request: Received) -> Fact | None:
    """Return the event that began the way back, or continued it."""
    if service == "inventory":
        return _back_from_inventory(journal, plan, request)
    if request.step == plan.abort:
        return _back_to_orders(plan, request)
    return _back_from_payments(plan, request) if request.step == plan.after_cancel() else None


def _back_from_inventory(journal: Journal, plan: SagaPlan, request: Received) -> Fact | None:
    if request.step != plan.after("inventory.release"):
        return None
    if _code(request) == StockUnavailable().code and request.seq == _position(plan, RESERVE):
        return Fact(StockUnavailable.type, RESERVE, _failure(request))

    reserved = journal.event_of(RESERVE)
    if reserved is None or reserved.is_refusal:
        return Fact(StockBarred.type, "inventory.release", {})
    pieces = sum(quantity for _, quantity in journal.lines)
    return Fact(StockReleased.type, "inventory.release", {"pieces": pieces})


def _back_from_payments(plan: SagaPlan, request: Received) -> Fact | None:
    code = _code(request)
    if code == PaymentExpiring().code:
        return Fact(PaymentExpiring.type, "", _failure(request))
    if code == PaymentFailed().code and request.seq == _position(plan, "payments.capture"):
        return Fact(PaymentFailed.type, "payments.capture", _failure(request))
    return Fact(PaymentWithheld.type, plan.bar, {}) if plan.bar else None


def _back_to_orders(plan: SagaPlan, request: Received) -> Fact | None:
    first = plan.actions[0]
    if _code(request) == PaymentFailed().code and request.seq == 1:
        return Fact(PaymentFailed.type, first.name, _failure(request))
    type_ = PaymentVoided.type if first.undo == "payments.void" else PaymentRefunded.type
    # Only the gateway knows whether there was money to give back.
    return Fact(type_, first.undo, {**_money(request), "amount": 0}) if first.undo else None


def _money(request: Received) -> dict[str, Any]:
    return {
        "payment_id": str(uuid7()),
        "amount": request.context.get("amount"),
        "currency": request.context.get("currency"),
    }


def _failure(request: Received) -> dict[str, Any]:
    failure: Mapping[str, Any] = request.context.get("failure") or {}
    return {"code": failure.get("code", ""), "detail": failure.get("detail", "")}


def _code(request: Received) -> str:
    return str(_failure(request)["code"])


def _position(plan: SagaPlan, step: str) -> int:
    """Return the position of the event of an action; 0 if the plan does not have it."""
    names = [action.name for action in plan.actions]
    return names.index(step) + 1 if step in names else 0


def _event(first: Event, service: str, request: Received, fact: Fact) -> Event:
    return Event(
        id=uuid7(),
        seq=request.seq,
        type=fact.type,
        service=service,
        step=fact.step,
        attempt=1,
        at=first.at,
        data={**fact.data, RECOVERED: True},
        target=request.step,
        context=request.context,
        headers=first.headers,
        proven=True,
    )
