"""Faults while calls of several orders are in flight at the payment provider, and its outage.

Each order is charged once, none is cancelled, and all end.
"""

from contextlib import ExitStack
from typing import NamedTuple

import pytest
from django.test import Client

from orders.models import Order, TimelineEvent
from sagas.failpoints import Action, Fault, Point
from sagas.ids import uuid7
from sagas.testing.armed_faults import ArmedFaults
from services import NAMES as SERVICES
from tests.integration.payments.stripe_harness import moved_money, use_stripe
from tests.outside.harness import SHORT_TIMES, System
from tests.outside.test_bad_release import CHARGE, assert_all_fulfilled, place, probes
from tests.processes import beat, until, worker
from tests.sandbox.process import API_KEY, SECRET, Sandbox, running

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

ORDERS = 12

# Seconds of a call, so that all orders of a test are in flight together.
CALL_SECONDS = 0.5
# Longer than any test.
HANG_SECONDS = 3600.0


class Serving(NamedTuple):
    """Two workers of payments with the sandbox, one of the other services, and the failpoints."""

    system: System
    sandbox: Sandbox
    faults: ArmedFaults


@pytest.fixture(scope="module")
def serving(django_db_setup, tmp_path_factory):
    faults = ArmedFaults(tmp_path_factory.mktemp("failpoints"))
    with running() as sandbox, ExitStack() as stack:
        environ = SHORT_TIMES | {
            "FAILPOINTS": str(faults.directory),
            "PAYMENT_GATEWAY": "stripe",
            "STRIPE_API_KEY": API_KEY,
            "STRIPE_API_BASE": sandbox.url,
            "STRIPE_WEBHOOK_SECRET": SECRET,
        }
        others = [service for service in SERVICES if service != "payments"]
        queues = (["payments"], ["payments"], others)
        workers = [stack.enter_context(worker(*each, environ=environ)) for each in queues]
        stack.enter_context(beat(environ=environ))
        yield Serving(System(workers), sandbox, faults)


@pytest.fixture(autouse=True)
def at_the_sandbox(settings, serving):
    """Use a sandbox with an empty ledger, because the tables of each test are empty."""
    sandbox = serving.sandbox
    sandbox.process.kill()
    for file in sandbox.log.parent.glob("ledger*"):
        file.unlink()
    sandbox.start()
    use_stripe(settings, sandbox)


def recover(sandbox: Sandbox) -> None:
    sandbox.http.delete("/sandbox/faults").raise_for_status()


def calls(sandbox: Sandbox) -> list[str]:
    """Return the order of each call of an order that the sandbox has received."""
    answer = sandbox.http.get("/sandbox/calls", params={"limit": 1000}).json()
    assert not answer["has_more"]
    return [call["order_id"] for call in answer["data"] if call["order_id"]]


def has_ended(sagas) -> bool:
    return not Order.objects.filter(id__in=sagas, ended_at=None).exists()


def assert_charged_once(serving: Serving, orders) -> None:
    assert_all_fulfilled(orders)
    amounts = dict(Order.objects.filter(id__in=orders).values_list("id", "amount"))
    for saga, amount in amounts.items():
        assert moved_money(serving.sandbox, saga) == {"capture": amount}
    assert not Order.objects.filter(needs_attention=True).exists()
    assert not TimelineEvent.objects.filter(type="saga.needs_attention").exists()


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("point", [Point.NOT_CALLED, Point.NOT_RECORDED, Point.COMMITTED])
def test_a_process_fails_while_it_has_calls_of_many_orders_in_flight(
    api_client: Client, serving: Serving, point: Point, action: Action
) -> None:
    serving.sandbox.fault("payment_intents.*", "slow", times=None, seconds=CALL_SECONDS)
    fault = Fault(point, CHARGE, action)
    with serving.faults.arm([fault], since=uuid7()):
        orders = place(api_client, ORDERS, prefix=f"{point}-{action}")
        (hit,) = until(lambda: serving.faults.hits(fault), "the fault is hit")
        if action is Action.FREEZE:
            until(lambda: has_ended(hit.sagas), "another worker has taken the order over")
            serving.faults.thaw(fault)
            until(lambda: serving.faults.is_over(fault), "the process goes on")
        serving.system.wait_until_idle(after_kill=action is Action.KILL)

    assert hit.thread.startswith("call-")
    assert_charged_once(serving, orders)


def test_an_outage_of_the_provider_that_lasts_costs_no_order_and_few_calls(
    api_client: Client, serving: Serving
) -> None:
    outage = {"id": "outage", "times": None}  # the second rule replaces the first one
    serving.sandbox.fault("*", "timeout_lost", seconds=HANG_SECONDS, **outage)
    orders = place(api_client, ORDERS, prefix="hangs")
    until(lambda: probes(CHARGE) is not None, "the charge is on hold", limit=120)

    before = probes(CHARGE)
    asked_before = len(calls(serving.sandbox))
    orders += place(api_client, ORDERS, prefix="waits")
    until(lambda: probes(CHARGE) >= before + 3, "orders try while calls hang", limit=120)

    serving.sandbox.fault("*", "500_lost", **outage)
    until(lambda: probes(CHARGE) >= before + 8, "orders try while calls fail", limit=120)
    asked = calls(serving.sandbox)[asked_before:]
    tried = probes(CHARGE) - before
    assert len(set(asked)) <= tried + 1  # an order may have been trying before

    recover(serving.sandbox)
    serving.system.wait_until_idle()
    assert probes(CHARGE) is None
    assert_charged_once(serving, orders)
