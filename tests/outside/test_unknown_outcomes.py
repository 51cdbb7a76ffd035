"""Charges with an unknown outcome end as captured once and fulfilled, or as net zero, never in
between.
"""

import os
import signal
from contextlib import contextmanager

import pytest

from payments.models import Inbox, Payment, SimulatedCharge
from tests.outside.harness import SHORT_TIMES, in_database, running_system, superuser_in
from tests.outside.waiting.gateway import AFTER, BEFORE, LOCK
from tests.processes import until
from tests.system.harness import net, order, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

CALLED_OFF = ("cancelled", "cancelled_by_customer")

# The lease is longer than the wait, so no other worker takes over the charge.
PATIENT = {
    **SHORT_TIMES,
    "SAGA_LEASE_SECONDS": "60",
    "DJANGO_SETTINGS_MODULE": "tests.outside.waiting.settings",
}

WAITING = """
SELECT substr(application_name, 9)::int FROM pg_stat_activity
 WHERE datname = current_database() AND application_name LIKE 'process %'
   AND wait_event_type = 'Lock'
"""


@pytest.fixture(scope="module")
def patient(django_db_setup):
    """Workers whose gateway waits where it is told to, and beat."""
    with running_system(PATIENT) as system:
        yield system


@contextmanager
def gateway_waits():
    """Block charges at the gateway until the context ends or the yielded session commits."""
    with superuser_in("payments") as session:
        session.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        yield session


def waiting():
    """Wait until a charge waits, and return the process that makes it."""
    return until(lambda: in_database("payments", WAITING), "a charge waits at the gateway")[0][0]


def call_off(client, placed):
    assert client.post(f"/api/v1/orders/{placed}/cancel/").status_code == 202
    until(lambda: outcome(placed) == CALLED_OFF, "the order is cancelled")
    assert net(placed) == 0


@pytest.mark.parametrize(("amount", "moved"), [(BEFORE, []), (AFTER, ["capture", "refund"])])
def test_a_slow_charge_that_a_cancel_overtakes_leaves_no_money_with_us(
    api_client, patient, amount, moved
):
    said = len(patient.output())
    with gateway_waits():
        placed = order(api_client, "slow", quantity=amount // 1_000)
        waiting()
        call_off(api_client, placed)

    patient.wait_until_idle()
    assert outcome(placed) == CALLED_OFF
    assert list(SimulatedCharge.objects.order_by("id").values_list("kind", flat=True)) == moved
    assert Payment.objects.get().status == ("refunded" if moved else "void")
    assert "IllegalTransition" not in patient.output()[said:]


def test_a_worker_that_freezes_between_its_claim_and_its_call_charges_nothing_when_it_wakes(
    api_client, patient
):
    with gateway_waits() as gateway:
        placed = order(api_client, "frozen", quantity=BEFORE // 1_000)
        process = waiting()
        os.kill(process, signal.SIGSTOP)

        try:
            gateway.commit()
            call_off(api_client, placed)
            said = len(patient.output())
        finally:
            os.kill(process, signal.SIGCONT)

    patient.wait_for_output("Task sagas.run_step", since=said)
    patient.wait_until_idle()
    assert outcome(placed) == CALLED_OFF
    assert not SimulatedCharge.objects.exists()
    assert Inbox.objects.get(step="payments.charge").state == "refused"


@pytest.mark.parametrize(
    "method", ["pm_sim_timeout_charged", "pm_sim_timeout_lost", "pm_sim_500_charged"]
)
def test_an_answer_that_is_lost_is_asked_for_or_undone_and_never_assumed(
    api_client, patient, method
):
    kept = [order(api_client, f"kept-{number}", method=method) for number in range(2)]
    regretted = [order(api_client, f"regretted-{number}", method=method) for number in range(3)]
    until(
        lambda: Inbox.objects.filter(step="payments.charge", attempts__gt=0).count() == 5,
        "all are charged",
    )
    for placed in regretted:
        assert api_client.post(f"/api/v1/orders/{placed}/cancel/").status_code in {202, 409}

    patient.wait_until_idle()
    assert [(outcome(one), net(one)) for one in kept] == [(("fulfilled", ""), 1_000)] * 2
    for placed in regretted:
        assert (outcome(placed), net(placed)) in {(CALLED_OFF, 0), (("fulfilled", ""), 1_000)}

    captures = SimulatedCharge.objects.filter(kind="capture").values_list("order_id", flat=True)
    assert len(captures) == len(set(captures))
