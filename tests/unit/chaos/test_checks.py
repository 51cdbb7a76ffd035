"""The soak's checks find each kind of broken promise."""

from datetime import UTC, datetime, timedelta

import pytest

from tools.chaos.checks import (
    END_SECONDS,
    free_violations,
    return_violations,
    seconds_to_the_end,
    violations,
)
from tools.chaos.client_record import ClientRecord
from tools.chaos.order_reader import OrderRow, ReturnRow
from tools.chaos.workload import KINDS, OrderRequest, operations, products

FAULT_AT = datetime(2026, 1, 1, tzinfo=UTC)
PAID, FREE, DECLINED, SOLD_OUT, *_ = KINDS


@pytest.fixture
def record():
    """One customer with one order, answered with the id `first`."""
    request = OrderRequest(
        key="key", kind=PAID, skus=("MUG",), quantity=1, payment_method="pm_card_visa"
    )
    record = ClientRecord([request])
    record.record_order("key", "first")

    return record


def free_record():
    request = OrderRequest(key="key", kind=FREE, skus=("STICKER",), quantity=1, payment_method="")
    return ClientRecord([request])


def row(order="first", *, key="key", status="fulfilled", failure="", after=1.0):
    ended_at = None if after is None else FAULT_AT + timedelta(seconds=after)
    return OrderRow(order, key, status, failure, ended_at)


def found(record, *orders):
    return violations(record, orders, last_fault_at=FAULT_AT)


def test_nothing_is_found_where_all_is_well(record):
    assert found(record, row()) == []


def test_an_order_that_was_answered_201_and_does_not_exist(record):
    assert found(record) == ["I1: order first was answered 201 but does not exist"]


def test_an_order_that_has_not_ended(record):
    assert found(record, row(status="paid", after=None)) == [
        "I1: order first is paid and has not ended"
    ]


def test_two_orders_under_one_key(record):
    assert "I2: 2 orders have the key key" in found(record, row(), row("second"))


def test_one_key_that_was_answered_with_two_orders(record):
    record.record_order("key", "second")
    assert "I2: the key key was answered with 2 orders" in found(
        record, row(), row("second", key="other")
    )


@pytest.mark.parametrize("key", ["unheard-of", None])
def test_an_order_that_no_customer_placed(record, key):
    assert found(record, row(), row("second", key=key)) == [
        f"I2: 1 orders have the key {key}, which no customer used"
    ]


def test_an_order_that_ended_too_late(record):
    assert found(record, row(after=END_SECONDS + 1)) == [
        "I13: the last order ended 121 s after the last fault"
    ]


def test_an_order_that_was_cancelled_though_nobody_asked(record):
    late = row(status="cancelled", failure="cancelled_by_customer")
    assert found(record, late) == ["Order first (paid by card) ended cancelled_by_customer"]


@pytest.mark.parametrize(
    ("answer", "told_a_lie", "kept_its_word"),
    [
        (202, row(), row(status="cancelled", failure="cancelled_by_customer")),
        (200, row(), row(status="cancelled", failure="cancelled_by_customer")),
        (409, row(status="cancelled", failure="cancelled_by_customer"), row()),
    ],
)
def test_a_cancellation_whose_answer_was_not_true(record, answer, told_a_lie, kept_its_word):
    customer_order = record.orders["key"]
    customer_order.cancel_asked, customer_order.cancel_answer = True, answer
    assert len(found(record, told_a_lie)) == 1
    assert found(record, kept_its_word) == []


@pytest.mark.parametrize(("status", "failure"), [("fulfilled", ""), ("cancelled", "out_of_stock")])
def test_a_free_order_ends_fulfilled_or_out_of_stock(status, failure):
    assert found(free_record(), row(status=status, failure=failure)) == []


def test_a_free_order_that_was_declined_was_charged():
    assert found(free_record(), row(status="cancelled", failure="payment_declined")) == [
        "Order first (free product) ended payment_declined"
    ]


def test_a_free_order_is_placed_without_a_payment_method_and_for_free_products_only():
    [order] = free_record().orders.values()
    assert order.request.body == {"lines": [{"sku": "STICKER", "quantity": 1}]}
    free = {product.sku for product in products(40) if product.unit_amount == 0}
    assert free == set(FREE.skus)


def test_money_that_moved_for_a_free_order_is_a_violation():
    free, paid = row()._replace(amount=0), row("second")._replace(amount=500)
    assert free_violations([free, paid], with_money={"second"}) == []
    assert free_violations([free, paid], with_money={"first", "second"}) == [
        "Order first is free, and money may have moved for it"
    ]


@pytest.mark.parametrize("kind", [DECLINED, SOLD_OUT])
def test_an_order_that_was_fulfilled_and_could_not_be(kind):
    record = ClientRecord(
        [OrderRequest(key="key", kind=kind, skus=kind.skus, quantity=1, payment_method="any")]
    )
    assert found(record, row()) == [f"Order first ({kind.title}) ended fulfilled"]


def test_an_order_that_exists_though_its_answer_never_came():
    record = ClientRecord(
        [
            OrderRequest(
                key="key", kind=PAID, skus=("MUG",), quantity=1, payment_method="pm_card_visa"
            )
        ]
    )
    assert found(record, row()) == []


def test_an_answer_that_nobody_should_get(record):
    record.add_unexpected("POST orders/ was answered 500")
    assert found(record, row()) == ["POST orders/ was answered 500"]


def test_the_time_to_the_end_is_that_of_the_last_order(record):
    orders = [row(after=3.0), row("second", after=8.0), row("third", status="paid", after=None)]
    assert seconds_to_the_end(orders, FAULT_AT) == 8.0
    assert seconds_to_the_end([row(after=-3.0)], FAULT_AT) == 0.0
    assert seconds_to_the_end([], FAULT_AT) == 0.0


@pytest.mark.parametrize(("answer", "lies"), [(202, 0), (200, 1)])
def test_with_authorize_first_a_requested_cancellation_may_come_too_late(record, answer, lies):
    customer_order = record.orders["key"]
    customer_order.cancel_asked, customer_order.cancel_answer = True, answer
    assert len(found(record, row()._replace(saga="authorize_first"))) == lies


def test_only_an_order_of_which_a_person_captured_a_part_is_cancelled_for_its_amount(record):
    order = row(status="cancelled", failure="payment_amount_differs")
    assert violations(record, [order], last_fault_at=FAULT_AT, captured_by_hand={"first"}) == []
    assert found(record, order) == ["Order first (paid by card) ended payment_amount_differs"]


def test_an_order_that_was_given_up_for_a_fault_that_is_not_its_own(record):
    given_up = row(status="cancelled", failure="internal_error")
    assert found(record, given_up) == ["Order first (paid by card) ended internal_error"]
    at_fault = violations(record, [given_up], last_fault_at=FAULT_AT, may_be_given_up=True)
    assert at_fault == []


def test_a_return_that_is_lost_open_or_refused_is_a_violation(record):
    record.orders["key"].returns = {"done", "lost"}
    returns = [
        ReturnRow("done", "first", "completed", "", 100, FAULT_AT),
        ReturnRow("given up", "first", "cancelled", "internal_error", 100, FAULT_AT),
        ReturnRow("open", "first", "refunding", "", 100, None),
        ReturnRow("refused", "first", "refused", "nothing_received", 100, FAULT_AT),
    ]
    assert return_violations(record, returns) == [
        "Return lost was answered 201 but does not exist",
        "Return given up is cancelled internal_error",
        "Return open is refunding",
        "Return refused is refused nothing_received",
    ]
    assert return_violations(record, returns[:2], may_be_given_up=True) == [
        "Return lost was answered 201 but does not exist"
    ]


def test_returns_do_not_change_the_orders_that_a_seed_draws():
    drawn = operations(orders=300, seed=7)
    returned = {each.request.key for each in drawn if each.verb == "return"}
    assert returned
    assert returned <= {each.request.key for each in drawn if each.verb == "place"}
