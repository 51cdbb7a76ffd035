"""The crashes of a saga, and the parts of its proof that need no worker."""

import signal
import subprocess
import sys

import pytest

from orders.saga import AUTHORIZE_FIRST, PLACE_ORDER
from sagas.definition.plan import Plan, Step
from sagas.failpoints import Action, Fault, Point
from sagas.ids import uuid7
from sagas.testing import crashes
from sagas.testing.record import End
from sagas.testing.worker import FolderScript
from tests.shop import only_shop
from tests.trips.saga import TRIP
from tests.trips.steps import NotConfirmed


def steps_of(found, end):
    return list(dict.fromkeys(crash.fault.step for crash in found if crash.end is end))


@pytest.mark.parametrize(
    ("saga", "refusing", "back"),
    [
        (TRIP, "trips.confirm", ["trips.refund", "trips.unbook", "trips.drop"]),
        (PLACE_ORDER, "orders.fulfil", ["inventory.release", "payments.refund", "orders.cancel"]),
        (
            AUTHORIZE_FIRST,
            "payments.capture",
            ["inventory.release", "payments.void", "orders.cancel"],
        ),
    ],
)
def test_a_saga_crashes_at_every_step_on_its_way_and_at_every_undo_on_its_way_back(
    saga, refusing, back
):
    with only_shop(saga):
        found = crashes(saga)
        way = [step.name for step in saga.plan.steps]

    assert steps_of(found, End.DONE) == way
    assert steps_of(found, End.CANCELLED) == back
    assert {crash.refusing for crash in found} == {None, refusing}
    assert len(set(map(str, found))) == len(found)


def test_only_an_external_step_crashes_during_its_call():
    called = {crash.fault.step for crash in crashes(TRIP) if crash.fault.point is Point.NOT_CALLED}

    assert called == {"trips.pay"}


def test_the_relay_leases_a_row_only_if_the_step_before_does_not_send_it():
    leased = {
        crash.fault.step: crash.enabling
        for crash in crashes(TRIP)
        if crash.fault.point is Point.LEASED
    }

    assert leased["trips.book"] is None
    assert leased["trips.pay"] == Fault(Point.COMMITTED, "trips.book", Action.RAISE)
    assert leased["trips.refund"] == Fault(Point.COMMITTED, "trips.confirm", Action.RAISE)


def test_a_process_may_also_raise_but_not_freeze():
    both = crashes(TRIP, actions=(Action.KILL, Action.RAISE))

    assert len(both) == 2 * len(crashes(TRIP))
    with pytest.raises(ValueError, match="frozen process"):
        crashes(TRIP, actions=(Action.FREEZE,))


def test_a_saga_that_is_cancelled_crashes_at_every_step_to_its_pivot_and_at_its_bar():
    trip = crashes(TRIP, cancelled=True)
    assert steps_of(trip, None) == ["trips.book", "trips.pay", "trips.confirm"]
    assert all(crash.cancelled and crash.refusing is None for crash in trip)
    assert str(trip[0]).endswith("-cancelled")

    # The pivot is outside the home, where the cancel is.
    with only_shop(AUTHORIZE_FIRST):
        steps = steps_of(crashes(AUTHORIZE_FIRST, cancelled=True), None)
    assert steps[-1] == AUTHORIZE_FIRST.plan.bar == "payments.withhold"


def test_a_saga_without_a_pivot_cannot_be_cancelled(monkeypatch):
    plan = Plan(saga="trip", steps=(Step("trips.book"),), abort="trips.drop")
    monkeypatch.setattr(TRIP, "plan", plan)

    with pytest.raises(ValueError, match="no pivot"):
        crashes(TRIP, cancelled=True)


def test_a_step_without_a_handler_is_an_error_of_the_test(monkeypatch):
    plan = Plan(saga="trip", steps=(Step("trips.fly"),), abort="trips.drop")
    monkeypatch.setattr(TRIP, "plan", plan)

    with pytest.raises(LookupError, match=r"No handler is registered for trips\.fly"):
        crashes(TRIP)


def test_a_step_refuses_only_for_the_saga_that_a_file_names(tmp_path):
    ours, other = uuid7(), uuid7()
    (tmp_path / str(ours)).write_text("trips.confirm")
    script = FolderScript(tmp_path)

    refusing = script.take("trips.confirm", ours)

    assert refusing is not None
    assert isinstance(refusing.produce(), NotConfirmed)
    assert script.take("trips.pay", ours) is None
    assert script.take("trips.confirm", other) is None


def test_a_worker_ends_with_the_process_of_the_test():
    code = "from sagas.testing.worker import end_with_the_test; end_with_the_test()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.poll() is None
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(60) == -signal.SIGKILL
