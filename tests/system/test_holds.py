"""Holds on real workers, under faults of workers and broker: no held step runs, and every order
ends.
"""

from contextlib import contextmanager
from uuid import UUID

import pytest
from django.contrib.auth.models import Group

from console.bulk_actions import runs
from console.models import Run
from orders.models import Order
from payments.models import Inbox, Payment, SimulatedCharge
from sagas.ids import uuid7
from sagas.testing.failpoints import Action as Fate
from sagas.testing.failpoints import Fault, Point
from tests.broker import empty
from tests.faults.armed_faults import ArmedFaults
from tests.processes import beat, until, worker
from tests.system.harness import (
    QUICK,
    assert_sound,
    ended,
    net,
    order,
    outcome,
    shop,
    system,
    timeline,
)

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

__all__ = ["shop"]

CHARGE, RESERVE = "payments.charge", "inventory.reserve"
SHORT = {**QUICK, "SAGA_LEASE_SECONDS": "3"}


@pytest.fixture
def anna(django_user_model):
    """An operator who may act on orders and hold steps."""
    anna = django_user_model.objects.create_user("anna", is_staff=True)
    anna.groups.set(Group.objects.filter(name__in=("operator", "approver")))
    return anna


def done(run, by):
    """Confirm a run, and wait until a worker has finished it."""
    runs.confirm(
        run.id,
        by=by,
        reason="The gateway refuses cards.",
        fingerprint=runs.preview(run).fingerprint,
    )
    until(lambda: Run.objects.filter(id=run.id, state="ended").exists(), "the run has ended")
    return list(run.items.values_list("state", flat=True))


def for_all(action, step, by):
    return done(runs.draft_for_step(action, step, by=by), by)


def to_orders(action, by, *orders):
    return done(runs.draft(action, [UUID(one) for one in orders], by=by), by)


def states(step, *orders):
    """Return the states of a payments step for some orders."""
    return set(Inbox.objects.filter(step=step, saga__in=orders).values_list("state", flat=True))


@contextmanager
def armed(folder, fault):
    """Arm a fault for processes that start from now on, and yield their environment."""
    armed_faults = ArmedFaults(folder)
    with armed_faults.arm([fault], since=uuid7()):
        yield armed_faults, {**SHORT, "FAILPOINTS": str(folder)}


def test_nothing_is_charged_while_charges_are_on_hold_and_every_order_ends_once_they_are_released(
    api_client, anna
):
    with system():
        assert for_all("hold_step", CHARGE, anna) == ["done"]
        placed = [order(api_client, f"held-{number}") for number in range(30)]
        until(lambda: Inbox.objects.filter(state="held").count() == 30, "all thirty wait")
        empty()  # the broker loses all messages
        until(lambda: Order.objects.filter(on_hold=CHARGE).count() == 30, "their home knows")
        assert not Payment.objects.exists()
        assert for_all("release_step", CHARGE, anna) == ["done"]
        until(lambda: ended(*placed), "all thirty have ended")
    assert {outcome(one) for one in placed} == {("fulfilled", "")}
    assert not Order.objects.filter(needs_attention=True).exists()
    assert SimulatedCharge.objects.count() == 30
    assert timeline(placed[0]).count("saga.on_hold") == 1
    assert_sound()


def test_a_step_that_is_held_while_its_workers_are_down_does_not_run_when_they_come_up(
    api_client, anna
):
    with worker("orders", environ=QUICK), worker("inventory", environ=QUICK), beat(environ=QUICK):
        placed = order(api_client, "before-the-hold")  # its message lies in the queue of payments
        assert for_all("hold_step", CHARGE, anna) == ["done"]
        with worker("payments", environ=QUICK) as late:
            until(lambda: states(CHARGE, placed) == {"held"}, "it waits", process=late)
            late.kill()  # while it holds what it has, and before it is released
            assert for_all("release_step", CHARGE, anna) == ["done"]
        assert not Payment.objects.exists()
        with worker("payments", environ=QUICK) as another:
            until(lambda: ended(placed), "it has ended", process=another)
    assert outcome(placed) == ("fulfilled", "")
    assert_sound()


def test_a_charge_that_is_under_way_as_its_order_is_held_is_recorded_and_the_next_step_waits(
    api_client, anna, tmp_path
):
    fault = Fault(Point.NOT_RECORDED, CHARGE, Fate.FREEZE)
    with armed(tmp_path, fault) as (armed_faults, environ), system(environ):
        placed = order(api_client, "in-flight")
        until(
            lambda: armed_faults.hits(fault),
            "the gateway has charged, and its answer is not written down",
        )
        assert to_orders("hold", anna, placed) == ["done"]
        assert "payments.charge is running" in Run.objects.get().items.get().outcome
        armed_faults.thaw(fault)
        until(lambda: Payment.objects.filter(status="captured").exists(), "the answer is recorded")
        until(lambda: Order.objects.get().on_hold == RESERVE, "the next step waits")
        assert to_orders("release", anna, placed) == ["done"]
        until(lambda: ended(placed), "it has ended")
    assert (outcome(placed), net(placed)) == (("fulfilled", ""), 1_000)
    assert_sound()


def test_a_charge_whose_worker_dies_under_the_hold_is_asked_for_after_it_and_made_once(
    api_client, anna, tmp_path
):
    fault = Fault(Point.NOT_RECORDED, CHARGE, Fate.KILL)
    with armed(tmp_path, fault) as (armed_faults, environ), system(environ) as workers:
        placed = order(api_client, "killed")
        until(
            lambda: armed_faults.hits(fault),
            "its worker has died after the gateway charged",
            restarting=workers.values(),
        )
        assert for_all("hold_step", CHARGE, anna) == ["done"]
        until(
            lambda: states(CHARGE, placed) & {"held", "done"},
            "what was left is held, or was done before the hold",
        )
        assert for_all("release_step", CHARGE, anna) == ["done"]
        until(lambda: ended(placed), "it has ended")
    assert (outcome(placed), SimulatedCharge.objects.count()) == (("fulfilled", ""), 1)
    assert_sound()


def test_an_order_that_its_customer_cancels_on_hold_is_undone_once_it_is_released(api_client, anna):
    with system():
        assert for_all("hold_step", RESERVE, anna) == ["done"]
        placed = order(api_client, "called-off")
        until(lambda: Order.objects.get().on_hold == RESERVE, "it is charged, and waits")
        assert to_orders("hold", anna, placed) == ["done"]
        assert api_client.post(f"/api/v1/orders/{placed}/cancel/").status_code == 202
        until(lambda: Order.objects.get().on_hold == "inventory.release", "the undo waits as well")
        assert (outcome(placed)[0], net(placed)) == ("cancelling", 1_000)
        assert to_orders("release", anna, placed) == ["done"]
        until(lambda: ended(placed), "it has ended, though its step is still on hold for all")
    assert (outcome(placed), net(placed)) == (("cancelled", "cancelled_by_customer"), 0)
    assert_sound()
