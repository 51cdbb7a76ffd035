"""Messages: every change has its event, every event its change, and every event arrived where it
was sent.
"""

from collections import Counter
from collections.abc import Iterator

from audit.case import FINAL, Case, Event
from audit.gather import services
from audit.invariant import Scope, Seen, Violation
from orders.events import OrderCancelled, OrderFulfilled

__all__ = [
    "ends_have_their_events",
    "every_event_tells_of_a_change",
    "every_message_arrived",
    "every_message_was_sent",
    "every_step_was_asked_for",
    "happened_at_most_once",
    "messages_know_our_orders_alone",
    "payments_and_stock_have_their_events",
    "steps_have_their_events",
]

# By any of which an ended order's payment, or what it reserved, must have been told of.
TOLD_OF_PAYMENT = {
    "authorized": {"payment.authorized"},
    "captured": {"payment.processed"},
    "refunded": {"payment.refunded", "payment.voided"},
    "declined": {"payment.failed", "payment.refunded", "payment.voided"},
    "void": {"payment.failed", "payment.refunded", "payment.voided"},
}
TOLD_OF_STOCK = {
    "shipped": {"stock.shipped"},
    "released": {"stock.released"},
    "held": {"stock.reserved"},
}


def every_message_arrived(case: Case) -> Iterator[str]:
    """Every message of a fulfilled saga, and of the walk that ended a cancelled one, has its row in
    an inbox.

    The messages of another walk, which came too late to end a cancelled saga, may never arrive; nor
    may a request to call an order off that came too late.
    """
    for event in _binding(case):
        if event.target and (state := case.state(event.target)) not in FINAL:
            yield f"{event.type} was lost on its way to {event.target}, which is {state or 'not known there'}"


def every_message_was_sent(case: Case) -> Iterator[str]:
    """None of them lies in its outbox for longer than a relay that runs would leave it."""
    yield from (
        f"{event.type} of {event.step or 'the start'} is not sent"
        for event in _binding(case)
        if event.unsent
    )


def every_step_was_asked_for(case: Case) -> Iterator[str]:
    """The walk that ended a saga begins at a start, with no hop missing."""
    walk = case.last_walk()
    if not walk:
        yield "ended, but no event ends it"
    elif walk[0].step:
        yield f"{walk[0].step} wrote {walk[0].type}, but no event asked for it"


def every_event_tells_of_a_change(case: Case) -> Iterator[str]:
    """The step that wrote an event is done, or refused where the event says no."""
    for event in case.news():
        expected = "refused" if event.is_refusal else "done"
        if event.step and case.state(event.step) != expected:
            yield f"{event.type} says that {event.step} is {expected}; it is {case.state(event.step) or 'not known'}"


def messages_know_our_orders_alone(scope: Scope) -> Iterator[Seen]:
    """Every message, in whichever service, belongs to an order."""
    for service in services():
        for table in (service.outbox, service.inbox):
            looked_at, unknown = scope.strangers(service.alias, table, "saga")
            violations = (
                Violation(str(saga), f"is no order, but {table} has it") for saga in unknown
            )
            yield Seen(looked_at, "sagas", list(violations))


def steps_have_their_events(case: Case) -> Iterator[str]:
    """A step that is done, or that refused by itself, has written its event. A tombstone has
    none.
    """
    told = {event.step for event in case.news()}
    for row in case.steps:
        barred = row.state == "refused" and _is_barred(case, row.step)
        if row.state in FINAL and row.step not in told and not barred:
            yield f"{row.step} is {row.state}, but there is no event of it"


def ends_have_their_events(case: Case) -> Iterator[str]:
    """An order that is fulfilled or cancelled has told so."""
    expected = OrderFulfilled.type if case.fulfilled else OrderCancelled.type
    if expected not in case.types():
        yield f"is {case.order.status}, but there is no {expected}"


def payments_and_stock_have_their_events(case: Case) -> Iterator[str]:
    """What became of the payment and of the stock was told."""
    types = case.types()
    for payment in case.payments:
        if not TOLD_OF_PAYMENT.get(payment.status, types) & types:
            yield f"its payment is {payment.status}, but no event told so"
    for state in sorted({reservation.state for reservation in case.reservations}):
        if not TOLD_OF_STOCK.get(state, types) & types:
            yield f"its stock is {state}, but no event told so"


def happened_at_most_once(case: Case) -> Iterator[str]:
    """One row in an inbox and one event for each step, and one start forward."""
    rows = Counter(row.step for row in case.steps)
    yield from (
        f"{step} has {count} rows in its inbox" for step, count in rows.items() if count > 1
    )
    events = Counter(event.step or event.type for event in case.news())
    yield from (f"{step} has {count} events" for step, count in events.items() if count > 1)


def _binding(case: Case) -> list[Event]:
    return case.events if case.fulfilled and not _called_off(case) else case.last_walk()


def _is_barred(case: Case, step: str) -> bool:
    """Whether something has barred a step: its undo, the abort, or a customer who called the
    order off.
    """
    plan = case.order.plan
    undone = any(plan.action_of(row.step) == step for row in case.steps)
    return undone or (plan.pivot is not None and step == plan.pivot.name and _called_off(case))


def _called_off(case: Case) -> bool:
    return any(not event.step and event.seq > 0 for event in case.events)
