"""The clock of a service's host is an hour off: leases and due times are the database's, so
nothing waits an hour.
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
    """Payments on a host whose clock is off, the other services on hosts whose clock is right."""
    path = f"{Path(__file__).parent / 'shifted_clock'}{os.pathsep}{ROOT}"
    shifted = {"PYTHONPATH": path, "CLOCK_SHIFT": str(request.param)}

    with ExitStack() as stack:
        right = stack.enter_context(worker("orders", "inventory", environ=SHORT_TIMES))
        wrong = stack.enter_context(worker("payments", environ={**SHORT_TIMES, **shifted}))
        stack.enter_context(beat(environ=SHORT_TIMES))
        assert abs(_off(wrong) - request.param) < HOUR / 2, "the clock is not shifted"
        yield System([wrong, right])


def _off(process):
    """Return by how many seconds the times that a process logs are off."""
    logged = re.findall(r'"timestamp": "([^"]+)"', process.output())[-1]
    return datetime.fromisoformat(logged).timestamp() - time.time()


def test_a_service_whose_clock_is_an_hour_off_holds_nothing_up(api_client, system):
    placed = [order(api_client, "good"), order(api_client, "slow", method="pm_sim_timeout_lost")]
    asked = Inbox.objects.filter(state="waiting")
    until(asked.exists, "a step waits for its next try", process=system.workers[0])
    with valkey() as client:
        client.flushall()  # the service's own flush finds the lost messages

    system.wait_until_idle()
    assert {outcome(one) for one in placed} == {("fulfilled", "")}

    for service in map(get_service, SERVICES):
        for table in (service.outbox, service.inbox):
            assert in_database(service.alias, OUT_OF_TIME.format(table=table)) == [(0,)]
