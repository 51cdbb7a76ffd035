"""The clock of a service's host is wrong by an hour. Orders are not delayed, because leases and due
times use the database's clock.
"""

import os
import re
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest

from payments.models import Inbox
from sagas.storage.registry import get_service
from tests.outside.harness import SHORT_TIMES, System, in_database, valkey
from tests.processes import ROOT, beat, until, worker
from tests.system.harness import SERVICES, order, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

HOUR = 3_600

OUT_OF_TIME = """
SELECT count(*) FROM {table} WHERE abs(extract(epoch FROM now() - created_at)) > 600
    OR abs(extract(epoch FROM now() - due_at)) > 600
"""


@pytest.fixture(params=[HOUR, -HOUR], ids=["ahead", "behind"])
def system(request):
    """Run payments with a shifted clock, and the other services with the right clock."""
    path = f"{Path(__file__).parent / 'shifted_clock'}{os.pathsep}{ROOT}"
    shifted = {"PYTHONPATH": path, "CLOCK_SHIFT": str(request.param)}

    with ExitStack() as stack:
        others = [service for service in SERVICES if service != "payments"]
        right = stack.enter_context(worker(*others, environ=SHORT_TIMES))
        wrong = stack.enter_context(worker("payments", environ={**SHORT_TIMES, **shifted}))
        stack.enter_context(beat(environ=SHORT_TIMES))
        assert abs(_clock_error(wrong) - request.param) < HOUR / 2, "the clock is not shifted"
        yield System([wrong, right])


def _clock_error(process):
    """Return the seconds by which the log times of a process are wrong."""
    logged = re.findall(r'"timestamp": "([^"]+)"', process.output())[-1]
    return datetime.fromisoformat(logged).timestamp() - time.time()


def test_a_service_whose_clock_is_wrong_by_an_hour_delays_no_order(api_client, system):
    placed = [order(api_client, "good"), order(api_client, "slow", method="pm_sim_timeout_lost")]
    waiting_rows = Inbox.objects.filter(state="waiting")
    until(waiting_rows.exists, "a step waits for its next attempt", process=system.workers[0])
    with valkey() as client:
        client.flushall()  # the service's own flush finds the lost messages

    system.wait_until_idle()
    assert {outcome(order_id) for order_id in placed} == {("fulfilled", "")}

    for service in map(get_service, SERVICES):
        for table in (service.outbox, service.inbox):
            assert in_database(service.alias, OUT_OF_TIME.format(table=table)) == [(0,)]
