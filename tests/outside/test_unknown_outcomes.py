"""An order with an unknown charge is captured once and fulfilled, or ends with net zero."""

import os
import signal
from contextlib import contextmanager

import pytest

from payments.models import Inbox, Payment, SimulatedCharge
from tests.outside.harness import SHORT_TIMES, in_database, running_system, superuser_in
from tests.outside.waiting.gateway import AFTER, BEFORE, LOCK, WaitingGateway
from tests.processes import until
from tests.system.harness import net, order, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

CANCELLED = ("cancelled", "cancelled_by_customer")

# The lease is longer than the wait, so no other worker takes over the charge.
SLOW_GATEWAY = {
    **SHORT_TIMES,
    "SAGA_LEASE_SECONDS": "60",
    "DJANGO_SETTINGS_MODULE": "tests.outside.waiting.settings",
}

WAITING_PROCESSES = """
SELECT substr(application_name, 9)::int FROM pg_stat_activity
 WHERE datname = current_database() AND application_name LIKE 'process %'
   AND wait_event_type = 'Lock'
"""


@pytest.fixture(scope="module")
def slow_system(django_db_setup):
    """Run workers whose gateway waits for the test's lock, and beat."""
    with running_system(SLOW_GATEWAY) as system:
        yield system


@pytest.fixture(autouse=True)
def _same_gateway(settings):
    """Use the workers' gateway here too: the audit would read its ledger a second time as that of
    the simulated gateway, which has the same tables.
    """
    settings.PAYMENT_GATEWAY = f"{WaitingGateway.__module__}.{WaitingGateway.__name__}"


@contextmanager
def gateway_waits():
    """Block charges at the gateway until the context ends or the yielded session commits."""
    with superuser_in("payments") as session:
        session.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        yield session


def wait_for_charge():
    """Wait until a charge waits at the gateway; return the process id of its worker."""
    return until(
        lambda: in_database("payments", WAITING_PROCESSES), "a charge waits at the gateway"
    )[0][0]


def cancel(client, placed):
    assert client.post(f"/api/v1/orders/{placed}/cancel/").status_code == 202
    until(lambda: outcome(placed) == CANCELLED, "the order is cancelled")
    assert net(placed) == 0


@pytest.mark.parametrize(("amount", "moved"), [(BEFORE, []), (AFTER, ["capture", "refund"])])
def test_a_slow_charge_of_a_cancelled_order_leaves_no_captured_money(
    api_client, slow_system, amount, moved
):
    logged_before = len(slow_system.output())
    with gateway_waits():
        placed = order(api_client, "slow", quantity=amount // 1_000)
        wait_for_charge()
        cancel(api_client, placed)

    slow_system.wait_until_idle()
    assert outcome(placed) == CANCELLED
    assert list(SimulatedCharge.objects.order_by("id").values_list("kind", flat=True)) == moved
    assert Payment.objects.get().status == ("refunded" if moved else "void")
    assert "IllegalTransition" not in slow_system.output()[logged_before:]


def test_a_worker_frozen_between_claim_and_call_charges_nothing_after_it_resumes(
    api_client, slow_system
):
    with gateway_waits() as gateway:
        placed = order(api_client, "frozen", quantity=BEFORE // 1_000)
        process = wait_for_charge()
        os.kill(process, signal.SIGSTOP)

        try:
            gateway.commit()
            cancel(api_client, placed)
            logged_before = len(slow_system.output())
        finally:
            os.kill(process, signal.SIGCONT)

    slow_system.wait_for_output("Task sagas.run_step", since=logged_before)
    slow_system.wait_until_idle()
    assert outcome(placed) == CANCELLED
    assert not SimulatedCharge.objects.exists()
    assert Inbox.objects.get(step="payments.charge").state == "refused"


@pytest.mark.parametrize(
    "method", ["pm_sim_timeout_charged", "pm_sim_timeout_lost", "pm_sim_500_charged"]
)
def test_a_charge_with_a_lost_answer_is_looked_up_or_undone(api_client, slow_system, method):
    kept = [order(api_client, f"kept-{number}", method=method) for number in range(2)]
    cancelled = [order(api_client, f"cancelled-{number}", method=method) for number in range(3)]
    until(
        lambda: Inbox.objects.filter(step="payments.charge", attempts__gt=0).count() == 5,
        "all charges are attempted",
    )
    for placed in cancelled:
        assert api_client.post(f"/api/v1/orders/{placed}/cancel/").status_code in {202, 409}

    slow_system.wait_until_idle()
    assert [(outcome(order_id), net(order_id)) for order_id in kept] == [
        (("fulfilled", ""), 1_000)
    ] * 2
    for placed in cancelled:
        assert (outcome(placed), net(placed)) in {(CANCELLED, 0), (("fulfilled", ""), 1_000)}

    captures = SimulatedCharge.objects.filter(kind="capture").values_list("order_id", flat=True)
    assert len(captures) == len(set(captures))
