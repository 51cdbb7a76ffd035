"""A process is killed, raises or freezes at each failpoint of each step and each undo.

Each fault must be hit. The order, or the return, ends as it would without the fault, and the audit
finds nothing.
The payment sandbox, if used, injects faults at the same time.
"""

from contextlib import ExitStack
from typing import Any

import pytest
from django.core.management import call_command

from sagas import sql
from sagas.failpoints import Action, Fault, Point
from sagas.ids import uuid7
from sagas.kinds import find_saga
from sagas.storage.registry import service_of_step
from tests.faults.scenarios import (
    AUTHORIZED,
    CALLED_OFF,
    CANCELLED,
    DECLINED,
    FULFILLED,
    RETURNED,
    SOLD_OUT,
    WITHHELD,
)
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
TOGETHER = (
    (CANCELLED, FULFILLED),
    (SOLD_OUT, DECLINED),
    (WITHHELD, AUTHORIZED),
    (CALLED_OFF, RETURNED),
)


def groups(point, action):
    """Return the groups of scenarios that run at the same time.

    Two frozen workers would leave a service without a worker. So with FREEZE the returns run
    separately, because most of their steps are of one service. At TAKEN, all scenarios do.
    """
    if point is Point.ROUND_SENT:
        return ((FULFILLED,),)
    if action is not Action.FREEZE:
        return TOGETHER

    def is_apart(group):
        return point is Point.TAKEN or RETURNED in group

    together = tuple(group for group in TOGETHER if not is_apart(group))
    apart = tuple((scenario,) for group in TOGETHER if is_apart(group) for scenario in group)
    return together + apart


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
    system, customer, store_result, point, action, scenarios
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
        status = row_of(order).status
        for fault in scenario.faults(point, action):
            store_result(fault, scenario.name, hits_of(system, fault, order), status)
        assert status == scenario.final_status


def row_of(saga) -> Any:
    """Return the row of an order or of a return."""
    return find_saga(saga)


def start(scenario, armed, system, customer, point, action):
    """Start an order with armed faults; return its id."""
    faults, since = [*scenario.faults(point, action), *scenario.enabling_faults(point)], uuid7()
    return scenario.start(
        customer, lambda: armed.enter_context(system.faults.arm(faults, since=since))
    )


def hits_of(system, fault, order):
    """Return how often a fault was hit, after checking that this order hit it."""
    hits = system.faults.hits(fault)
    assert all(order in hit.sagas for hit in hits) or fault.point is Point.ROUND_SENT
    return len(hits)


def all_finished(system, point, action, orders):
    """Resume processes that have been frozen long enough; return whether all faults are over and
    all orders have ended.
    """
    all_over = True
    for scenario, order in orders.items():
        ended = row_of(order).ended_at is not None
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
