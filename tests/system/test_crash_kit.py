"""`sagas.testing.crashes` proves a saga on real workers, as a user of the engine does it."""

import re
from pathlib import Path

import pytest
from django.conf import settings

from orders.models import Order
from orders.saga import AUTHORIZE_FIRST, PLACE_ORDER
from orders.services import cancel_order
from payments.models import Payment, SimulatedCharge
from sagas.failpoints import Action, Fault, Point
from sagas.testing import crashes
from sagas.testing.record import End
from tests.integration.audit.harness import open_shop, place
from tests.trips.harness import begin, effects, forget
from tests.trips.saga import TRIP
from tests.trips.steps import NotConfirmed

pytestmark = [pytest.mark.system, pytest.mark.faults, pytest.mark.timeout(300)]

# The most sagas of one message: the default of the setting BATCH_SIZE.
BATCH = 100

BLOCK = re.compile(r'^```python title="(\w+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)

EVERY = crashes(TRIP)
# Each point once on the way to the end, and once on the way back.
CHOSEN = {(crash.fault.point, crash.end): crash for crash in EVERY}


def snippet_of_the_page(title, test, **names):
    """Return the test in a snippet of docs/testing-a-saga.md."""
    page = Path(settings.BASE_DIR, "docs/testing-a-saga.md").read_text()
    module = {"pytest": pytest, **names}
    exec(compile(dict(BLOCK.findall(page))[title], "testing-a-saga.md", "exec"), module)
    return module[test]


def assert_charged_once(order):
    captures = SimulatedCharge.objects.filter(order_id=order, kind="capture")
    assert captures.count() == 1


@pytest.fixture(autouse=True)
def _ordinary_steps():
    forget()


def start():
    (trip,) = begin()
    return trip


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("crash", CHOSEN.values(), ids=str)
def test_a_trip_survives(crash, saga_workers):
    trip = saga_workers.survive(crash, start)

    assert len(effects(trip)) == len(set(effects(trip)))


CANCELLED = {
    (crash.fault.step, crash.fault.point): crash for crash in crashes(TRIP, cancelled=True)
}


# A payment that is made and not recorded, and a pivot that is done and not acknowledged.
@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize(
    "at", [("trips.pay", Point.NOT_RECORDED), ("trips.confirm", Point.COMMITTED)], ids=str
)
def test_a_trip_that_is_cancelled_during_the_crash_has_the_end_that_the_cancel_was_told(
    at, saga_workers
):
    trips = []

    def start_a_trip():
        trips.append(start())
        return trips[0]

    survives = snippet_of_the_page(
        "cancelled",
        "test_a_cancel_in_flight_survives",
        TRIP=TRIP,
        start_a_trip=start_a_trip,
        ChangedPlans=lambda: NotConfirmed(code="changed_plans", detail="The traveller is ill."),
    )

    survives(CANCELLED[at], saga_workers)

    (trip,) = trips
    assert len(effects(trip)) == len(set(effects(trip)))


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_crash_at_the_bar_of_a_pivot_elsewhere_is_survived(saga_workers):
    open_shop()
    bar = AUTHORIZE_FIRST.plan.bar
    (crash,) = (
        crash
        for crash in crashes(AUTHORIZE_FIRST, cancelled=True)
        if crash.fault[:2] == (Point.COMMITTED, bar)
    )

    saga_workers.survive(crash, lambda: place(first="authorize"), cancel=cancel_order)

    assert Order.objects.get().status in ("cancelled", "fulfilled")


def test_a_cancelled_crash_needs_a_cancel(saga_workers):
    with pytest.raises(ValueError, match="cancel="):
        saga_workers.survive(next(iter(CANCELLED.values())), start)


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_the_crash_happens_to_no_other_saga(saga_workers):
    def start_more_than_one_batch():
        return begin(BATCH + 1)[BATCH // 2]

    saga_workers.survive(CHOSEN[Point.TAKEN, End.DONE], start_more_than_one_batch)


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_saga_with_another_end_fails_the_proof(saga_workers):
    crash = CHOSEN[Point.COMMITTED, End.DONE]._replace(end=End.CANCELLED)

    with pytest.raises(AssertionError, match=r"Expected the end 'cancelled', but it is 'done'"):
        saga_workers.survive(crash, start)


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_crash_that_does_not_happen_fails_the_proof(saga_workers):
    nowhere = Fault(Point.NOT_CALLED, "trips.book", Action.KILL)  # not an external step

    with pytest.raises(AssertionError, match=r"The crash did not happen(.|\n)*Ended: done"):
        saga_workers.survive(EVERY[0]._replace(fault=nowhere), start, limit=5)


@pytest.mark.django_db(databases="__all__")
def test_a_saga_that_is_not_committed_fails_the_proof(saga_workers):
    with pytest.raises(RuntimeError, match="not committed"):
        saga_workers.survive(EVERY[0], start)


# The steps of three services, in three databases.
ORDER = [
    crash
    for crash in crashes(PLACE_ORDER)
    if (crash.fault.step, crash.fault.point)
    in {
        ("payments.charge", Point.NOT_RECORDED),
        ("inventory.reserve", Point.PASSED_ON),
        ("payments.refund", Point.NOT_RECORDED),
    }
]


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("crash", ORDER, ids=str)
def test_an_order_survives_as_the_page_says(crash, saga_workers):
    open_shop()
    survives = snippet_of_the_page(
        "crashes",
        "test_an_order_survives",
        PLACE_ORDER=PLACE_ORDER,
        start_an_order=lambda: place(first="charge"),
        assert_charged_once=assert_charged_once,
    )

    survives(crash, saga_workers)

    # Not the audit: a task of a killed process comes again seconds later, when the tables of its
    # test are empty. Then it runs as a new saga, and the audit finds rows without an order.
    order = Order.objects.get()
    payment = Payment.objects.get(order_id=order.id)
    is_done = crash.end is End.DONE
    assert order.status == ("fulfilled" if is_done else "cancelled")
    assert payment.status == ("captured" if is_done else "refunded")
    assert payment.refunded_amount == (0 if is_done else order.amount)
