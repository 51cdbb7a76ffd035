"""An order that misses its deadline is cancelled until its pivot; after it, a person is told."""

from datetime import timedelta

import pytest

from inventory.models import StockItem
from orders.saga import AUTHORIZE_FIRST, PLACE_ORDER
from orders.services import cancel_order
from payments.models import Payment
from sagas.definition.events import NEEDS_ATTENTION
from sagas.testing import story
from tests.integration.audit.harness import open_shop, place

pytestmark = pytest.mark.django_db(databases="__all__")

MISSED = "saga.deadline_missed"
SAGAS = {"charge": PLACE_ORDER, "authorize": AUTHORIZE_FIRST}
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def deadline(monkeypatch):
    for saga in SAGAS.values():
        monkeypatch.setattr(saga, "deadline", HOUR)


def order(first):
    open_shop()
    return story(SAGAS[first], lambda: place("MUG", first=first))


def assert_nothing_is_left(told):
    assert (told.tracked.status, told.tracked.failure_code) == ("cancelled", "deadline")
    assert told.tracked.failure_detail == "It was not completed in time."
    assert not StockItem.objects.exclude(reserved=0).exists()
    payment = Payment.objects.filter(order_id=told.saga).first()
    assert payment is None or payment.status in {"void", "refunded"}


@pytest.mark.parametrize("first", SAGAS)
def test_an_order_has_its_deadline_from_the_statement_that_places_it(first):
    row = order(first).tracked
    assert row.deadline_at == row.created_at + HOUR


@pytest.mark.parametrize(
    ("first", "until"),
    [
        ("charge", None),
        ("charge", "payments.charge"),
        ("charge", "inventory.reserve"),
        ("authorize", None),
        ("authorize", "payments.authorize"),
        ("authorize", "inventory.reserve"),
    ],
)
def test_before_the_pivot_the_order_is_undone_for_a_reason_of_its_own(first, until):
    told = order(first).newest_first()
    if until:
        told.run(until=until)
    told.at_deadline().run()

    told.expect(ended="cancelled", waiting=[], needs_attention=False)
    assert told.events.count(MISSED) == 1
    assert_nothing_is_left(told)


def test_after_a_pivot_at_home_the_order_is_delivered_and_a_person_is_told():
    told = order("charge").run(until="orders.fulfil").at_deadline()

    assert NEEDS_ATTENTION in told.events
    told.run().expect(ended="done")
    assert (told.tracked.status, told.tracked.failure_code) == ("fulfilled", "")


def test_after_a_pivot_elsewhere_its_bar_tells_a_person():
    told = order("authorize").run(until="payments.capture").at_deadline()
    assert told.tracked.deadline_at is None
    told.run(until="payments.withhold")
    assert told.events.count(NEEDS_ATTENTION) == 1

    told.run().expect(ended="done")
    assert (told.tracked.status, told.tracked.failure_code) == ("fulfilled", "")


def test_a_late_cancel_by_the_customer_calls_no_person():
    told = order("authorize").run(until="payments.capture")
    told.then(lambda: cancel_order(told.tracked)).run()

    told.expect(ended="done")
    assert NEEDS_ATTENTION not in told.events


def test_a_deadline_after_a_late_cancel_by_the_customer_calls_a_person():
    told = order("authorize").when("inventory.ship").retries(times=2)
    told.run(until="payments.capture").then(lambda: cancel_order(told.tracked)).at_deadline()
    assert told.tracked.deadline_at is not None  # the bar has not answered yet
    told.run(attempts=1).at_deadline()

    assert (told.events.count(NEEDS_ATTENTION), told.events.count(MISSED)) == (1, 0)
    assert told.tracked.deadline_at is None
    told.run().expect(ended="done", needs_attention=False)


def test_a_deadline_after_a_cancel_that_came_in_time_calls_no_person():
    told = order("authorize").when("payments.void").retries(times=2).newest_first()
    told.run(until="payments.authorize").then(lambda: cancel_order(told.tracked))
    told.run(attempts=1).at_deadline()
    assert told.tracked.deadline_at is None
    told.run()

    told.expect(ended="cancelled", needs_attention=False)
    assert MISSED not in told.events
    assert NEEDS_ATTENTION not in told.events


def test_an_undecided_pivot_elsewhere_is_waited_for_and_then_decides():
    told = order("authorize").when("payments.capture").unknown(times=2)
    told.run(until="inventory.reserve").run(attempts=1).at_deadline().run()

    told.expect(ended="done", needs_attention=False)
    assert told.events.count(NEEDS_ATTENTION) == 1


@pytest.mark.parametrize("first", SAGAS)
@pytest.mark.parametrize("seed", range(4))
def test_a_deadline_and_a_cancel_in_any_order_leave_nothing_half_done(first, seed):
    told = order(first).in_any_order(seed).with_duplicates()
    told.run(until="inventory.reserve").at_deadline()
    told.then(lambda: cancel_order(told.tracked)).run()

    told.expect(waiting=[])
    if told.record.end == "cancelled":
        assert told.tracked.failure_code in {"deadline", "cancelled_by_customer"}
        told.expect(done=[])
    else:  # the capture had begun before the bar came
        assert (first, told.tracked.status) == ("authorize", "fulfilled")
