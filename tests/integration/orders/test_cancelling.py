"""A customer's cancel in every state of an order. The writer of the pivot's inbox row wins."""

from functools import partial

import pytest
from django.db import transaction

from orders.models import Inbox, Order, Outbox
from orders.saga import PLACE_ORDER
from orders.status import OPEN, Status
from sagas.definition.messages import Message
from sagas.execution import runner
from tests.integration.orders import harness
from tests.integration.races import at_once


def cancel(client, order):
    return client.post(harness.path(order, "cancel/"))


@pytest.mark.parametrize("status", sorted(OPEN - {Status.CANCELLING}))
def test_an_open_order_is_called_off_and_everything_before_the_pivot_is_undone(ada, status):
    order = harness.order(status)

    answer = cancel(ada, order)

    assert answer.status_code == 202
    assert answer.json()["status"] == "cancelling"
    assert answer.json()["failure"] == {
        "code": "cancelled_by_customer",
        "detail": "Cancelled by the customer.",
    }
    assert Inbox.objects.get(saga=order.id).state == "refused"
    sent = Outbox.objects.get(saga=order.id)
    assert (sent.type, sent.target) == ("order.cancelling", "inventory.release")
    assert sent.context == {
        "amount": 2500,
        "currency": "eur",
        "payment_method": "pm_card_visa",
        "lines": [{"sku": "MUG", "quantity": 2, "unit_amount": 1250}],
        "failure": {"code": "cancelled_by_customer", "detail": "Cancelled by the customer."},
    }


def test_a_pivot_that_still_waits_for_its_next_try_can_be_barred(ada):
    order = harness.order(Status.RESERVED)
    harness.pivot(order, "waiting")
    assert cancel(ada, order).status_code == 202
    assert Inbox.objects.get(saga=order.id).state == "refused"


def test_cancelling_again_changes_nothing_and_sends_nothing(ada):
    order = harness.order()
    first = cancel(ada, order)
    again = cancel(ada, order)
    assert again.status_code == 202
    assert again.json() == first.json()
    assert Outbox.objects.count() == 1


def test_an_order_that_the_pivot_refused_is_cancelled_anyway(ada):
    order = harness.order(Status.RESERVED)
    harness.pivot(order, "refused")
    assert cancel(ada, order).status_code == 202
    assert not Outbox.objects.exists()


def test_the_first_reason_that_was_shown_stays(ada):
    order = harness.order(Status.CANCELLING, failure_code="payment_declined", failure_detail="No.")
    answer = cancel(ada, order)
    assert answer.status_code == 202
    assert answer.json()["failure"] == {"code": "payment_declined", "detail": "No."}


def test_a_cancelled_order_is_cancelled(ada):
    order = harness.order(Status.CANCELLED)
    answer = cancel(ada, order)
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert not Outbox.objects.exists()


def test_a_fulfilled_order_cannot_be_cancelled_even_where_its_inbox_is_purged(ada):
    order = harness.order(Status.FULFILLED)
    answer = cancel(ada, order)
    assert answer.status_code == 409
    assert answer.json()["type"] == "/errors/order-fulfilled"
    assert not Inbox.objects.exists()
    assert not Outbox.objects.exists()


def test_a_pivot_that_is_done_decides_whatever_the_status_says(ada):
    order = harness.order(Status.RESERVED)  # as read just before the pivot committed
    harness.pivot(order, "done")
    assert cancel(ada, order).status_code == 409
    assert not Outbox.objects.exists()


def test_the_plan_stored_with_the_order_says_what_is_undone(ada):
    order = harness.order()
    steps = [step for step in order.plan["steps"] if step["name"] != "inventory.reserve"]
    Order.objects.update(plan=order.plan | {"steps": steps})
    cancel(ada, order)
    assert Outbox.objects.get().target == "payments.refund"


def test_anothers_order_is_not_there_to_be_cancelled(bob):
    order = harness.order(of="ada")
    assert cancel(bob, order).status_code == 404
    assert not Inbox.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_twenty_cancels_at_once_send_one_message_back():
    order, clients = harness.order(), [harness.client_of("ada") for _ in range(20)]
    answers = at_once([partial(cancel, client, order) for client in clients])
    assert {answer.status_code for answer in answers} == {202}
    assert Outbox.objects.filter(type="order.cancelling").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_cancel_and_the_pivot_at_once_have_one_winner():
    clients = [harness.client_of("ada") for _ in range(12)]
    orders = [harness.order(Status.RESERVED) for _ in clients]

    answers = at_once(
        [
            *(
                partial(cancel, client, order)
                for client, order in zip(clients, orders, strict=True)
            ),
            *(partial(fulfil, orders[at : at + 4]) for at in (0, 4, 8)),
        ]
    )

    for order, answer in zip(orders, answers, strict=False):
        order.refresh_from_db()
        types = set(Outbox.objects.filter(saga=order.id).values_list("type", flat=True))
        if answer.status_code == 202:
            assert (order.status, types) == ("cancelling", {"order.cancelling"})
        else:
            assert (answer.status_code, order.status, types) == (
                409,
                "fulfilled",
                {"order.fulfilled"},
            )


def test_no_row_is_locked_before_the_pivots(ada, django_assert_max_num_queries):
    """The pivot's step locks its inbox row before the order: the other way round they deadlock."""
    order = harness.order()
    with transaction.atomic(), django_assert_max_num_queries(12) as captured:
        cancel(ada, order)
    statements = [query["sql"].strip() for query in captured.captured_queries]
    locking = [
        sql
        for sql in statements
        if sql.startswith(("INSERT", "UPDATE")) or "FOR UPDATE" in sql or "FOR NO" in sql
    ]
    assert locking[0].startswith("INSERT INTO orders_inbox")


def fulfil(orders):
    messages = [
        Message(id=order.id, saga=order.id, started_at=order.created_at, seq=3, context={})
        for order in orders
    ]
    runner.run("orders.fulfil", PLACE_ORDER.plan, messages)
