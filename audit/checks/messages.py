"""Messages: every change has its event, every event has its change, and every event arrived."""

from collections import Counter
from collections.abc import Iterator

from audit.invariant_types import AuditContext, TableResult, Violation
from audit.snapshot import FINAL, Event, OrderSnapshot, Payment, SagaSnapshot
from orders.events import OrderCancelled, OrderFulfilled
from sagas.definition.events import STEP_SKIPPED
from sagas.storage.registry import get_service, service_names

__all__ = [
    "ends_have_their_events",
    "every_event_reports_a_change",
    "every_message_arrived",
    "every_message_was_sent",
    "every_step_was_requested",
    "happened_at_most_once",
    "messages_belong_to_sagas",
    "payments_and_stock_have_their_events",
    "steps_have_their_events",
]

# For each status of an ended order's payment or reservation: the events, one of which reports it.
# Money that came in after the end of an order is given back without an event. Therefore a refunded
# payment may have the event of a payment that never was captured.
NOT_CAPTURED = {"payment.failed", "payment.barred"}
GIVEN_BACK = {"payment.refunded", "payment.voided"}
PAYMENT_EVENTS = {
    "authorized": {"payment.authorized"},
    "captured": {"payment.processed"},
    "refunded": GIVEN_BACK | NOT_CAPTURED,
    "declined": GIVEN_BACK | NOT_CAPTURED,
    "void": GIVEN_BACK | NOT_CAPTURED,
}
STOCK_EVENTS = {
    "shipped": {"stock.shipped"},
    "released": {"stock.released"},
    "held": {"stock.reserved"},
}


def every_message_arrived(order: SagaSnapshot) -> Iterator[str]:
    """Every message that had to arrive has an inbox row at its target.

    All messages of a fulfilled saga had to arrive, and those of the path that ended a cancelled
    one. Messages of another path, and a cancel request that came too late, may be lost.
    """
    for event in _binding_events(order):
        for target in order.plan.recipients(event.target) if event.target else ():
            state = order.state(target)
            if state not in FINAL:
                found = f"its inbox row is {state}" if state else "it has no inbox row"
                yield f"{event.type} did not reach {target}: {found}"


def every_message_was_sent(order: SagaSnapshot) -> Iterator[str]:
    """No message that had to arrive stays in its outbox for longer than a running relay needs."""
    yield from (
        f"{event.type} of {event.step or 'the start'} is due, but not sent"
        for event in _binding_events(order)
        if event.unsent
    )


def every_step_was_requested(order: SagaSnapshot) -> Iterator[str]:
    """The path that ended a saga begins with a start event, and no event of it is missing."""
    path = order.final_path()
    if not path:
        yield "has ended, but no event ends it"
    elif path[0].step:
        yield f"{path[0].step} wrote {path[0].type}, but no event was sent to that step"


def every_event_reports_a_change(order: SagaSnapshot) -> Iterator[str]:
    """The step that wrote an event is done, or refused if the event is a refusal or a skip."""
    for event in order.changes():
        is_refused = event.is_refusal or event.type == STEP_SKIPPED
        expected = "refused" if is_refused else "done"
        state = order.state(event.step)
        if event.step and state != expected:
            found = state or "missing from the inbox"
            yield f"{event.type} reports that {event.step} is {expected}, but it is {found}"


def messages_belong_to_sagas(context: AuditContext) -> Iterator[TableResult]:
    """Every message, in every service, belongs to a saga of some home."""
    for service in map(get_service, service_names()):
        for table in (service.outbox, service.inbox):
            orphans = context.orphans(service.alias, table, "saga")
            violations = [
                Violation(str(saga), f"{table} has rows of it, but there is no such saga")
                for saga in orphans.ids
            ]
            yield TableResult(orphans.checked, "sagas", violations)


def steps_have_their_events(order: SagaSnapshot) -> Iterator[str]:
    """A step that is done, or that refused by itself, has written its event.

    A tombstone has none.
    """
    reported = {event.step for event in order.changes()}
    for row in order.steps:
        barred = row.state == "refused" and _is_barred(order, row.step)
        if row.state in FINAL and row.step not in reported and not barred:
            yield f"{row.step} is {row.state}, but it wrote no event"


def ends_have_their_events(order: OrderSnapshot) -> Iterator[str]:
    """A fulfilled or cancelled order has the event that reports it."""
    expected = OrderFulfilled.type if order.fulfilled else OrderCancelled.type
    if expected not in order.types():
        yield f"is {order.order.status}, but has no event {expected}"


def payments_and_stock_have_their_events(order: OrderSnapshot) -> Iterator[str]:
    """The state of the payment and of the stock was reported by an event."""
    types = order.types()
    for payment in order.payments:
        if not _events_of(payment, order) & types:
            yield f"its payment is {payment.status}, but no event reports it"

    for state in sorted({reservation.state for reservation in order.reservations}):
        if not STOCK_EVENTS.get(state, types) & types:
            yield f"its stock is {state}, but no event reports it"


def happened_at_most_once(order: SagaSnapshot) -> Iterator[str]:
    """Each step has one inbox row and one event, and the order has one start forward."""
    rows = Counter(row.step for row in order.steps)
    yield from (f"{step} has {count} inbox rows" for step, count in rows.items() if count > 1)

    events = Counter(event.step or event.type for event in order.changes())
    yield from (f"{step} has {count} events" for step, count in events.items() if count > 1)


def _events_of(payment: Payment, order: OrderSnapshot) -> set[str]:
    """Return the events, one of which reports the state of a payment."""
    if order.fulfilled and payment.status == "refunded":
        return PAYMENT_EVENTS["captured"]  # a goodwill refund of the whole amount
    if payment.owed:
        return PAYMENT_EVENTS["refunded"]  # the refund was reported, and failed later
    return PAYMENT_EVENTS.get(payment.status, order.types())


def _binding_events(order: SagaSnapshot) -> list[Event]:
    """Return the events that had to arrive."""
    if order.fulfilled and not _cancel_was_requested(order):
        return order.events
    return order.final_path()


def _is_barred(order: SagaSnapshot, step: str) -> bool:
    """Whether a step was barred by its undo, by the abort, or by a cancel request."""
    plan = order.plan
    undone = any(plan.action_of(row.step) == step for row in order.steps)
    is_pivot = plan.pivot is not None and step == plan.pivot.name
    return undone or (is_pivot and _cancel_was_requested(order))


def _cancel_was_requested(order: SagaSnapshot) -> bool:
    return any(not event.step and event.seq > 0 for event in order.changes())
