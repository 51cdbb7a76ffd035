"""Holds on real workers: no held step runs and every order ends, even if a process fails."""

from contextlib import contextmanager
from uuid import UUID

import pytest
from django.contrib.auth.models import Group

from console.bulk_actions import runs
from console.models import Run
from orders.models import Order
from payments.models import Inbox, Payment, SimulatedCharge
from sagas.failpoints import Action as Fate
from sagas.failpoints import Fault, Point
from sagas.ids import uuid7
from sagas.testing.armed_faults import ArmedFaults
from tests.broker import empty
from tests.processes import beat, until, worker
from tests.shop import FURTHER
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

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.faults,
]

__all__ = ["shop"]

CHARGE, RESERVE = "payments.charge", "inventory.reserve"
SHORT = {**QUICK, "SAGA_LEASE_SECONDS": "3"}


@pytest.fixture
def anna(django_user_model):
    """Create an operator with the permission to act on orders and to hold steps."""
    anna = django_user_model.objects.create_user("anna", is_staff=True)
    anna.groups.set(Group.objects.filter(name__in=("operator", "approver")))
    return anna


def confirm_and_wait(run, by):
    """Confirm a run, and wait until a worker has finished it."""
    runs.confirm(
        run.id,
        by=by,
        reason="The gateway refuses cards.",
        fingerprint=runs.preview(run).fingerprint,
    )
    until(lambda: Run.objects.filter(id=run.id, state="ended").exists(), "the run has ended")
    return list(run.items.values_list("state", flat=True))


def act_on_step(action, step, by):
    return confirm_and_wait(runs.draft_for_step(action, step, by=by), by)


def act_on_orders(action, by, *orders):
    return confirm_and_wait(runs.draft(action, [UUID(order_id) for order_id in orders], by=by), by)


def states(step, *orders):
    """Return the states of a payments step for some orders."""
    return set(Inbox.objects.filter(step=step, saga__in=orders).values_list("state", flat=True))


@contextmanager
def armed(folder, fault):
    """Arm a fault; yield it with the environment for the processes that it can hit."""
    armed_faults = ArmedFaults(folder)
    with armed_faults.arm([fault], since=uuid7()):
        yield armed_faults, {**SHORT, "FAILPOINTS": str(folder)}


def test_held_charges_are_not_made_and_every_order_ends_after_the_release(api_client, anna):
    with system():
        assert act_on_step("hold_step", CHARGE, anna) == ["done"]
        placed = [order(api_client, f"held-{number}") for number in range(30)]
        until(
            lambda: Inbox.objects.filter(state="held").count() == 30, "all thirty charges are held"
        )
        empty()  # the broker loses all messages
        until(
            lambda: Order.objects.filter(on_hold=CHARGE).count() == 30,
            "all thirty orders show the hold",
        )
        assert not Payment.objects.exists()
        assert act_on_step("release_step", CHARGE, anna) == ["done"]
        until(lambda: ended(*placed), "all thirty orders have ended")
    assert {outcome(order_id) for order_id in placed} == {("fulfilled", "")}
    assert not Order.objects.filter(needs_attention=True).exists()
    assert SimulatedCharge.objects.count() == 30
    assert timeline(placed[0]).count("saga.on_hold") == 1
    assert_sound()


def test_a_step_held_while_its_workers_are_down_does_not_run_when_they_start(api_client, anna):
    with (
        worker("orders", environ=QUICK),
        worker("inventory", *FURTHER, environ=QUICK),
        beat(environ=QUICK),
    ):
        placed = order(api_client, "before-the-hold")  # its message waits in the queue of payments
        assert act_on_step("hold_step", CHARGE, anna) == ["done"]
        with worker("payments", environ=QUICK) as first_worker:
            until(
                lambda: states(CHARGE, placed) == {"held"},
                "the charge is held",
                process=first_worker,
            )
            first_worker.kill()  # after it has held the charge, and before the release
            assert act_on_step("release_step", CHARGE, anna) == ["done"]
        assert not Payment.objects.exists()
        with worker("payments", environ=QUICK) as second_worker:
            until(lambda: ended(placed), "the order has ended", process=second_worker)
    assert outcome(placed) == ("fulfilled", "")
    assert_sound()


def test_a_running_charge_of_a_held_order_is_recorded_and_the_next_step_waits(
    api_client, anna, tmp_path
):
    fault = Fault(Point.NOT_RECORDED, CHARGE, Fate.FREEZE)
    with armed(tmp_path, fault) as (armed_faults, environ), system(environ):
        placed = order(api_client, "in-flight")
        until(
            lambda: armed_faults.hits(fault),
            "the gateway has charged, and its answer is not recorded",
        )
        assert act_on_orders("hold", anna, placed) == ["done"]
        assert "payments.charge is running" in Run.objects.get().items.get().outcome
        armed_faults.thaw(fault)
        until(lambda: Payment.objects.filter(status="captured").exists(), "the answer is recorded")
        until(lambda: Order.objects.get().on_hold == RESERVE, "the next step waits")
        assert act_on_orders("release", anna, placed) == ["done"]
        until(lambda: ended(placed), "the order has ended")
    assert (outcome(placed), net(placed)) == (("fulfilled", ""), 1_000)
    assert_sound()


def test_a_charge_whose_worker_dies_before_the_hold_is_made_once_after_the_release(
    api_client, anna, tmp_path
):
    fault = Fault(Point.NOT_RECORDED, CHARGE, Fate.KILL)
    with armed(tmp_path, fault) as (armed_faults, environ), system(environ) as workers:
        placed = order(api_client, "killed")
        until(
            lambda: armed_faults.hits(fault),
            "the worker has died after the gateway charged",
            restarting=workers.values(),
        )
        assert act_on_step("hold_step", CHARGE, anna) == ["done"]
        until(
            lambda: states(CHARGE, placed) & {"held", "done"},
            "the charge is held, or was done before the hold",
        )
        assert act_on_step("release_step", CHARGE, anna) == ["done"]
        until(lambda: ended(placed), "the order has ended")
    assert (outcome(placed), SimulatedCharge.objects.count()) == (("fulfilled", ""), 1)
    assert_sound()


def test_an_order_cancelled_on_hold_is_undone_after_the_release(api_client, anna):
    with system():
        assert act_on_step("hold_step", RESERVE, anna) == ["done"]
        placed = order(api_client, "cancelled")
        until(
            lambda: Order.objects.get().on_hold == RESERVE,
            "the order is charged, and its next step is held",
        )
        assert act_on_orders("hold", anna, placed) == ["done"]
        assert api_client.post(f"/api/v1/orders/{placed}/cancel/").status_code == 202
        until(lambda: Order.objects.get().on_hold == "inventory.release", "the undo is also held")
        assert (outcome(placed)[0], net(placed)) == ("cancelling", 1_000)
        assert act_on_orders("release", anna, placed) == ["done"]
        until(lambda: ended(placed), "the order has ended, although its step is still on hold")
    assert (outcome(placed), net(placed)) == (("cancelled", "cancelled_by_customer"), 0)
    assert_sound()
