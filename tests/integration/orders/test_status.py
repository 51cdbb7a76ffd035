"""The status: only legal transitions, in code and in the database; events only raise it."""

from itertools import pairwise, permutations

import msgspec
import pytest
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from orders.models import Order
from orders.saga import AUTHORIZE_FIRST, PLACE_ORDER
from orders.status import (
    STATUS_AFTER_EVENT,
    STATUS_ORDER,
    TERMINAL,
    TRANSITIONS,
    Status,
    may_become,
)
from sagas.definition.messages import TimelineEntry
from sagas.ids import uuid7
from tests.integration.orders import harness

PAIRS = list(permutations(Status, 2))


def event(order, kind, seq=1, **detail):
    return TimelineEntry(
        id=uuid7(),
        saga=order.id,
        seq=seq,
        type=kind,
        service="s",
        step="",
        attempt=1,
        at=order.created_at,
        detail=detail,
    )


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=[f"{a}-{b}" for a, b in PAIRS])
def test_the_database_allows_exactly_the_changes_of_the_table(db, before, after):
    order = harness.order(before, ended_at=Now(), failure_code="x")
    if may_become(before, after):
        Order.objects.update(status=after)
    else:
        with (
            pytest.raises(IntegrityError, match=f"is {before} and cannot become {after}"),
            transaction.atomic(),
        ):
            Order.objects.update(status=after)
    order.refresh_from_db()
    assert order.status == (after if may_become(before, after) else before)


@pytest.mark.parametrize(("saga", "allowed"), [(PLACE_ORDER, False), (AUTHORIZE_FIRST, True)])
def test_only_where_the_pivot_lies_elsewhere_a_cancel_can_come_too_late(db, saga, allowed):
    harness.order(Status.CANCELLING, plan=msgspec.to_builtins(saga.plan))
    if allowed:
        Order.objects.update(status=Status.FULFILLED)
    else:
        with (
            pytest.raises(IntegrityError, match="is cancelling and cannot become fulfilled"),
            transaction.atomic(),
        ):
            Order.objects.update(status=Status.FULFILLED)
    assert may_become(Status.CANCELLING, Status.FULFILLED, pivot_elsewhere=allowed) is allowed
    assert Order.objects.get().status == ("fulfilled" if allowed else "cancelling")


def test_the_terminal_states_are_fulfilled_and_cancelled():
    assert sorted(TERMINAL) == ["cancelled", "fulfilled"]


def test_every_rise_is_a_legal_change():
    assert all(may_become(lower, higher) for lower, higher in pairwise(STATUS_ORDER))
    assert set(STATUS_AFTER_EVENT.values()) | {Status.PENDING} == set(STATUS_ORDER)
    assert set(TRANSITIONS) == set(Status)


def test_events_raise_the_status_of_many_orders_at_once(db):
    paid, reserved, alone = harness.order(), harness.order(), harness.order()
    Order.apply_events(
        [
            event(paid, "payment.processed", 1),
            event(reserved, "payment.processed", 1),
            event(reserved, "stock.reserved", 2),
            event(alone, "order.created", 0),
        ]
    )
    assert [Order.objects.get(id=order.id).status for order in (paid, reserved, alone)] == [
        "paid",
        "reserved",
        "pending",
    ]


def test_a_late_event_lowers_nothing(db):
    order = harness.order(Status.RESERVED)
    Order.apply_events([event(order, "payment.processed")])
    assert Order.objects.get().status == "reserved"


@pytest.mark.parametrize("status", sorted(TERMINAL))
@pytest.mark.parametrize("kind", sorted(STATUS_AFTER_EVENT))
def test_no_event_touches_a_terminal_status(db, status, kind):
    order = harness.order(status)
    Order.apply_events([event(order, kind, code="late", detail="late")])
    order_now = Order.objects.get()
    assert (order_now.status, order_now.failure_code) == (status, order.failure_code)


@pytest.mark.parametrize("kind", ["payment.failed", "stock.unavailable", "order.unfulfillable"])
def test_a_refusal_shows_why_the_order_is_being_cancelled(db, kind):
    order = harness.order()
    Order.apply_events(
        [
            event(order, kind, code="out_of_stock", detail="None left."),
            event(order, "stock.released", 2),
        ]
    )
    order.refresh_from_db()
    assert (order.status, order.failure_code, order.failure_detail) == (
        "cancelling",
        "out_of_stock",
        "None left.",
    )


def test_events_of_unknown_kinds_and_orders_are_no_concern(db):
    order = harness.order()
    gone = Order(id=uuid7(), created_at=order.created_at)
    Order.apply_events([event(order, "saga.needs_attention"), event(gone, "payment.processed")])
    assert Order.objects.get().status == "pending"
