"""A process is killed, raises or freezes at each failpoint of each step and each undo.

Each fault must be hit. The order ends as it would without the fault, and the audit finds nothing.
The payment sandbox, if used, injects faults at the same time.
"""

from contextlib import ExitStack

import pytest
from django.core.management import call_command

from orders.models import Order
from sagas.ids import uuid7
from sagas.storage import sql
from sagas.storage.registry import service_of_step
from sagas.testing.failpoints import Action, Fault, Point
from tests.faults.fault_report import RESULTS, FaultResult
from tests.faults.scenarios import AUTHORIZED, CANCELLED, DECLINED, FULFILLED, SOLD_OUT, WITHHELD
from tests.plugin import running
from tools.chaos.provider_faults import provider_faults

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.system,
    pytest.mark.faults,
    pytest.mark.timeout(300),
]

# test_requests.py covers the failpoints of requests. tests/system/test_stripe.py covers that of a
# webhook.
OF_REQUESTS = (
    Point.UNCOMMITTED,
    Point.FLUSH_NOT_REQUESTED,
    Point.NOT_ANSWERED,
    Point.NOT_ACKNOWLEDGED,
)
POINTS = [point for point in Point if point not in OF_REQUESTS]


# The scenarios of a group run at the same time. A later order of a group runs no step where the
# faults of an earlier order are armed.
TOGETHER = ((CANCELLED, FULFILLED), (SOLD_OUT, DECLINED), (WITHHELD, AUTHORIZED))


def groups(point, action):
    """Return the groups of scenarios that run at the same time.

    For TAKEN with FREEZE the scenarios run separately, because two frozen workers would leave the
    service without a worker.
    """
    if point is Point.ROUND_SENT:
        return ((FULFILLED,),)
    if (point, action) == (Point.TAKEN, Action.FREEZE):
        return tuple((scenario,) for group in TOGETHER for scenario in group)

    return TOGETHER


def combinations():
    return [
        pytest.param(
            point,
            action,
            scenarios,
            id=f"{point}-{action}-{'-'.join(scenario.name for scenario in scenarios)}",
        )
        for point in POINTS
        for action in Action
        for scenarios in groups(point, action)
    ]


@pytest.mark.parametrize(("point", "action", "scenarios"), combinations())
def test_an_order_reaches_its_expected_end_despite_the_fault(
    system, customer, point, action, scenarios
):
    sandbox = running().env.get("STRIPE_API_BASE")
    with provider_faults(sandbox, seed=POINTS.index(point)), ExitStack() as armed:
        orders = {
            scenario: start(scenario, armed, system, customer, point, action)
            for scenario in scenarios
        }
        system.until(
            lambda: all_finished(system, point, action, orders),
            "all faults are over and all orders have ended",
        )

    call_command("audit", "--expect-ended")
    for scenario, order in orders.items():
        status = Order.objects.get(id=order).status
        RESULTS.extend(
            result_of(system, fault, scenario, order, status)
            for fault in scenario.faults(point, action)
        )
        assert status == scenario.final_status


def start(scenario, armed, system, customer, point, action):
    """Start an order with armed faults; return its id."""
    faults, since = [*scenario.faults(point, action), *scenario.enabling_faults(point)], uuid7()
    return scenario.start(
        customer, lambda: armed.enter_context(system.faults.arm(faults, since=since))
    )


def result_of(system, fault, scenario, order, status):
    """Return the result of a fault, after checking that this order hit it."""
    hits = system.faults.hits(fault)
    assert all(order in hit.sagas for hit in hits) or fault.point is Point.ROUND_SENT
    return FaultResult(fault, scenario.name, len(hits), status)


def all_finished(system, point, action, orders):
    """Resume processes that have been frozen long enough; return whether all faults are over and
    all orders have ended.
    """
    all_over = True
    for scenario, order in orders.items():
        ended = Order.objects.filter(id=order, ended_at__isnull=False).exists()
        for fault in scenario.faults(point, action):
            if action is Action.FREEZE and (ended or overtaken(fault, order)):
                system.faults.thaw(fault)

            all_over = all_over and ended and system.faults.is_over(fault)

    return all_over


def overtaken(fault: Fault, order):
    """Return whether another worker has run the step whose message a frozen worker took.

    Its process can then resume. Without this check, soon all workers would be frozen.
    """
    if fault.point is not Point.TAKEN:
        return False

    service = service_of_step(fault.step)
    found = (
        f"SELECT 1 FROM {service.inbox} WHERE saga = %(saga)s AND step = %(step)s"
        " AND state IN ('done', 'refused')"
    )
    return bool(sql.fetch(service.alias, found, {"saga": order, "step": fault.step}))
