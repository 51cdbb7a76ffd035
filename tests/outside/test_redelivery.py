"""A worker dies with the messages it took. The broker delivers them again after its timeout."""

import os
import signal
from contextlib import ExitStack
from functools import partial

import pytest

from orders.models import Order, Outbox
from payments.models import Inbox
from sagas.failpoints import Action, Fault, Point
from sagas.ids import uuid7
from sagas.testing.armed_faults import ArmedFaults
from tests.outside.harness import SHORT_TIMES, System, valkey
from tests.processes import beat, until, worker
from tests.system.harness import SERVICES, ended, order, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

# Only the broker finds lost messages in time, because no order counts as stalled.
ONLY_BROKER = {
    **SHORT_TIMES,
    "SAGA_STALL_SECONDS": "3600",
    "SAGA_LEASE_SECONDS": "3600",
    "TASK_TIME_LIMIT": "20",
}

# Each fault stops one order: two before a step begins, and one after all work is done, before the
# acknowledgement. The last order ends before the kill, so that the worker is not just receiving
# another message from the broker.
FAULTS = [
    Fault(Point.NOT_BEGUN, "payments.charge", Action.FREEZE),
    Fault(Point.NOT_BEGUN, "inventory.reserve", Action.FREEZE),
    Fault(Point.PASSED_ON, "orders.fulfil", Action.FREEZE),
]


def kill_machine(process):
    process.kill()


def kill_main_process(process):
    os.kill(process.popen.pid, signal.SIGKILL)
    process.popen.wait()


@pytest.mark.parametrize("kill", [kill_machine, kill_main_process])
def test_the_broker_delivers_the_messages_of_a_killed_worker_again(
    api_client, settings, tmp_path, kill
):
    settings.SAGA_STALL_SECONDS = 3600
    armed_faults = ArmedFaults(tmp_path)
    environ = {**ONLY_BROKER, "FAILPOINTS": str(tmp_path)}

    with ExitStack() as stack:
        process = stack.enter_context(
            worker(*SERVICES, environ=environ, concurrency=len(FAULTS) + 1)
        )
        stack.enter_context(beat(environ=ONLY_BROKER))
        placed = []

        for fault in FAULTS:
            stack.enter_context(armed_faults.arm([fault], since=uuid7()))
            placed.append(order(api_client, fault.step))
            until(partial(armed_faults.hits, fault), f"{fault.name} is hit", process=process)

        until(partial(ended, placed[-1]), "the last order has ended", process=process)
        kill(process)
        with valkey() as client:
            assert client.hlen("unacked") >= len(FAULTS)

        with worker(*SERVICES, environ=ONLY_BROKER, concurrency=2) as successor:
            until(
                lambda: all(outcome(order_id) == ("fulfilled", "") for order_id in placed),
                "all orders are fulfilled",
                process=successor,
            )
            for fault in FAULTS if kill is kill_main_process else ():
                # The orphaned child continues, but its step is already done.
                armed_faults.thaw(fault)
                until(
                    partial(armed_faults.is_over, fault), f"{fault.name} is over", process=successor
                )

            System([successor]).wait_until_idle()

    assert set(Order.objects.values_list("redrives", flat=True)) == {0}
    assert max(Outbox.objects.values_list("attempts", flat=True)) == 1
    assert set(Inbox.objects.filter(step="payments.charge").values_list("attempts", flat=True)) == {
        1
    }
