"""Each service reads the messages of the others. Only step names and the context bind them."""

import inspect
from datetime import UTC, datetime
from importlib import import_module
from types import ModuleType
from typing import Any

import msgspec
import pytest

from orders.events import LineOrdered, OrderCancelling, OrderCreated
from orders.next_action_projection import (
    ACTION_DONE,
    ACTION_FIELDS,
    ACTION_REQUIRED,
    UNDECIDED,
)
from orders.saga import AUTHORIZE_FIRST, PLACE_ORDER, SAGAS
from orders.status import STATUS_AFTER_EVENT
from sagas.definition import handlers
from sagas.definition.attempt import StepAttempt
from sagas.definition.events import DeadlineMissed, Event, Notice, Refusal, WaitNotice
from sagas.definition.messages import Message
from sagas.definition.plan import Plan
from sagas.ids import uuid7
from services import NAMES
from tests.shop import of_shop

PLAN = PLACE_ORDER.plan
PLANS = [saga.plan for saga in SAGAS.values()]
STEPS = sorted({name for plan in PLANS for name in plan.names()})
BASES = {Event, Notice, Refusal, WaitNotice}

ORDERED = OrderCreated(
    amount=2_500,
    currency="eur",
    payment_method="pm_card_visa",
    lines=(LineOrdered("MUG", 2, 1_000), LineOrdered("PEN", 1, 500)),
)


def events_of(module: ModuleType) -> dict[str, type[Event]]:
    found = inspect.getmembers(
        module, lambda member: inspect.isclass(member) and issubclass(member, Event)
    )
    return {event.type: event for _, event in found if event not in BASES}


PUBLISHED = {
    name: event
    for service in NAMES
    for name, event in events_of(import_module(f"{service}.events")).items()
}


def on_the_wire(context: dict[str, Any]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(context))


def message(context: dict[str, Any]) -> Message:
    return Message(
        id=uuid7(),
        saga=uuid7(),
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        seq=3,
        context=context,
    )


def registered(step: str) -> Any:
    return handlers.definition(step)


@pytest.mark.parametrize("step", STEPS)
def test_every_step_reads_what_it_needs_of_an_order(step):
    accepts = registered(step).accepts
    read = msgspec.convert(on_the_wire(ORDERED.facts()), accepts)
    for field in msgspec.structs.fields(accepts):
        if field.name in ORDERED.facts():
            assert msgspec.to_builtins(getattr(read, field.name)) is not None


@pytest.mark.parametrize("step", STEPS)
def test_a_newer_order_with_fields_nobody_knows_yet_is_read_all_the_same(step):
    newer = {
        **ORDERED.facts(),
        "gift_wrap": True,
        "lines": [{**line, "note": "x"} for line in ORDERED.facts()["lines"]],
    }
    msgspec.convert(on_the_wire(newer), registered(step).accepts)


@pytest.mark.parametrize(
    ("plan", "step"),
    [(plan, name) for plan in PLANS for name in plan.names() if plan.refusable(name)],
)
def test_the_reason_of_every_refusal_reaches_the_end_of_the_saga(plan, step):
    refusal = registered(step).refusal(code="some_code", detail="Some detail.")
    row = StepAttempt(plan, step, message(ORDERED.facts()), 1).refusal_row(
        refusal, target=plan.after_refusal(step)
    )
    cancelled = msgspec.convert(on_the_wire(row.context), registered(plan.abort).accepts)
    assert (cancelled.failure.code, cancelled.failure.detail) == ("some_code", "Some detail.")


def test_the_first_reason_is_kept_on_the_way_back():
    first = StepAttempt(PLAN, PLAN.first, message(ORDERED.facts()), 1)
    refused = first.refusal_row(OrderCancelling(), target=PLAN.abort)
    second = StepAttempt(PLAN, PLAN.first, message(refused.context), 1)
    again = second.refusal_row(OrderCancelling(code="other"), target=PLAN.abort)
    assert again.context["failure"]["code"] == "cancelled_by_customer"


def test_the_customers_reason_is_one_that_the_contract_names():
    assert OrderCancelling().code == "cancelled_by_customer"


def test_the_timeline_follows_only_events_that_somebody_publishes():
    of_the_engine = {DeadlineMissed.type}
    assert set(STATUS_AFTER_EVENT) <= set(PUBLISHED) | of_the_engine


def test_what_a_customer_is_asked_is_published_with_all_that_the_order_shows():
    assert issubclass(PUBLISHED[ACTION_REQUIRED], Notice)
    assert issubclass(PUBLISHED[ACTION_DONE], Event)
    assert set(ACTION_FIELDS) <= {
        field.name for field in msgspec.structs.fields(PUBLISHED[ACTION_REQUIRED])
    }
    assert issubclass(PUBLISHED[UNDECIDED], Notice)
    assert "subject" in PUBLISHED[UNDECIDED].__struct_fields__


def test_every_event_has_a_name_of_its_own():
    names = [name for service in NAMES for name in events_of(import_module(f"{service}.events"))]
    assert len(names) == len(set(names))


def test_every_refusal_needs_no_more_than_a_code_and_a_detail():
    for event in PUBLISHED.values():
        if issubclass(event, Refusal):
            event(code="internal_error", detail="It could not be done.")


# Plans of orders that are on their way. They change only together with a promise to finish what
# began under them.
CHARGED = """
{"saga": "place_order", "abort": "orders.cancel", "steps": [
  {"name": "payments.charge", "undo": "payments.refund"},
  {"name": "inventory.reserve", "undo": "inventory.release"},
  {"name": "orders.fulfil", "pivot": true},
  {"name": "inventory.ship"}]}
"""
AUTHORIZED = """
{"saga": "authorize_first", "abort": "orders.cancel", "steps": [
  {"name": "payments.authorize", "undo": "payments.void"},
  {"name": "inventory.reserve", "undo": "inventory.release"},
  {"name": "payments.capture", "pivot": true, "bar": "payments.withhold"},
  {"name": "orders.fulfil"},
  {"name": "inventory.ship"}]}
"""


@pytest.mark.parametrize(
    ("in_flight", "saga"), [(CHARGED, PLACE_ORDER), (AUTHORIZED, AUTHORIZE_FIRST)]
)
def test_orders_on_their_way_end_under_the_plan_they_began_with(in_flight, saga):
    plan = msgspec.json.decode(in_flight, type=Plan)
    assert [name for name in plan.names() if handlers.definition(name) is None] == []
    assert plan == of_shop(saga.plan)
