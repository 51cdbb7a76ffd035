"""The steps of orders, fulfil and cancel, for a whole batch."""

import re
from functools import partial

import pytest
from django.db import transaction

from orders.events import OrderCancelled, OrderFulfilled, OrderUnfulfillable
from orders.models import Order
from orders.status import OPEN, Status
from orders.steps import (
    Failure,
    OrderAlreadyFulfilled,
    OrderToCancel,
    OrderToFulfil,
    cancel,
    fulfil,
)
from sagas.definition.handlers import Delivery
from sagas.ids import uuid7
from tests.integration.orders import harness
from tests.integration.races import at_once

DECLINED = Failure(code="payment_declined", detail="The payment was declined.")


def to_fulfil(saga):
    return Delivery(saga=saga, context=OrderToFulfil())


def to_cancel(saga, failure=DECLINED):
    return Delivery(saga=saga, context=OrderToCancel(failure=failure))


@pytest.mark.parametrize("status", sorted(OPEN - {Status.CANCELLING}))
def test_an_open_order_is_fulfilled_but_its_saga_goes_on(db, status):
    order = harness.order(status)
    assert fulfil([to_fulfil(order.id)]) == [OrderFulfilled()]
    order.refresh_from_db()
    assert (order.status, order.ended_at, order.failure_code) == ("fulfilled", None, "")
    assert order.updated_at >= order.created_at


def test_an_unknown_order_is_refused_and_shares_no_fate_with_its_batch(db):
    order, lost = harness.order(), uuid7()
    assert fulfil([to_fulfil(lost), to_fulfil(order.id)]) == [
        OrderUnfulfillable(),
        OrderFulfilled(),
    ]


@pytest.mark.parametrize("status", [Status.CANCELLING, Status.CANCELLED])
def test_an_order_that_is_being_cancelled_is_not_fulfilled(db, status):
    order = harness.order(status)
    assert fulfil([to_fulfil(order.id)]) == [OrderUnfulfillable()]
    assert Order.objects.get().status == status


@pytest.mark.parametrize("status", sorted(OPEN))
def test_a_cancelled_order_has_ended_for_the_reason_that_the_saga_brought(db, status):
    order = harness.order(status, needs_attention=True)
    assert cancel([to_cancel(order.id)]) == [
        OrderCancelled(code=DECLINED.code, detail=DECLINED.detail)
    ]
    order.refresh_from_db()
    assert (order.status, order.needs_attention) == ("cancelled", False)
    assert (order.failure_code, order.failure_detail) == (DECLINED.code, DECLINED.detail)
    assert order.ended_at is not None


def test_the_reason_that_the_customer_was_shown_stays(db):
    order = harness.order(
        Status.CANCELLING, failure_code="cancelled_by_customer", failure_detail="Cancelled."
    )
    cancel([to_cancel(order.id)])
    order.refresh_from_db()
    assert (order.failure_code, order.failure_detail) == ("cancelled_by_customer", "Cancelled.")


def test_each_order_of_a_batch_gets_its_own_reason(db):
    orders = [harness.order() for _ in range(3)]
    reasons = [Failure(code=f"reason_{n}", detail=str(n)) for n in range(3)]
    cancel([to_cancel(order.id, reason) for order, reason in zip(orders, reasons, strict=True)])
    assert [Order.objects.get(id=order.id).failure_code for order in orders] == [
        "reason_0",
        "reason_1",
        "reason_2",
    ]


def test_an_unknown_order_has_nothing_left_to_cancel(db):
    assert cancel([to_cancel(uuid7())]) == [
        OrderCancelled(code=DECLINED.code, detail=DECLINED.detail)
    ]


def test_a_cancelled_order_stays_as_it_was(db):
    order = harness.order(Status.CANCELLED)
    before = Order.objects.values().get()
    cancel([to_cancel(order.id)])
    assert Order.objects.values().get() == before


def test_a_fulfilled_order_is_never_cancelled(db):
    fulfilled, opened = harness.order(Status.FULFILLED), harness.order()
    with pytest.raises(OrderAlreadyFulfilled, match=str(fulfilled.id)):
        cancel([to_cancel(opened.id), to_cancel(fulfilled.id)])


def test_a_reason_of_any_length_is_kept(db):
    order = harness.order()
    cancel([to_cancel(order.id, Failure(code="c" * 1000, detail="d" * 100_000))])
    order.refresh_from_db()
    assert (len(order.failure_code), len(order.failure_detail)) == (1000, 100_000)


@pytest.mark.parametrize(("step", "delivery"), [(fulfil, to_fulfil), (cancel, to_cancel)])
def test_orders_are_locked_by_id_before_anything_is_written(
    db, django_assert_num_queries, step, delivery
):
    orders = [harness.order().id for _ in range(3)]
    with django_assert_num_queries(2) as captured:
        step([delivery(order) for order in orders])
    lock, write = (query["sql"].strip() for query in captured.captured_queries)
    assert re.search(r'ORDER BY (1|"orders_order"."id") ASC FOR NO KEY UPDATE$', lock)
    assert write.startswith("UPDATE")


@pytest.mark.django_db(transaction=True)
def test_overlapping_batches_in_opposite_orders_do_not_deadlock():
    orders = [harness.order().id for _ in range(40)]

    def run(batch):
        with transaction.atomic():
            return fulfil([to_fulfil(order) for order in batch])

    batches = [orders, orders[::-1]] * 6
    outcomes = at_once([partial(run, batch) for batch in batches])
    assert all(outcome == [OrderFulfilled()] * 40 for outcome in outcomes)
