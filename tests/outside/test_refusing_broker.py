"""A broker that refuses writes, as a replica does, costs no process file descriptors."""

from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.outside.harness import SHORT_TIMES, System, valkey
from tests.processes import api, beat, until, worker
from tests.system.harness import SERVICES, order, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

# A worker reconnects about ten times a second. Before, each time cost it three descriptors.
RECONNECTS = 60

# A connection that is being replaced is open twice for a moment.
MOST_MORE = 6

LOST = "Connection to broker lost"


@contextmanager
def as_replica():
    """Make the broker a replica whose master does not answer."""
    with valkey() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            yield
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def without_replicas():
    """Make the broker refuse writes, because it has no replica."""
    with valkey() as client:
        client.config_set("min-replicas-to-write", 1)
        try:
            yield
        finally:
            client.config_set("min-replicas-to-write", 0)


def descriptors(process):
    return sum(1 for _ in Path(f"/proc/{process.popen.pid}/fd").iterdir())


@pytest.mark.parametrize("refusing", [as_replica, without_replicas])
def test_no_process_leaks_descriptors_and_orders_end_afterwards(api_client, shop, refusing):
    with (
        worker(*SERVICES, environ=SHORT_TIMES, concurrency=2) as process,
        beat(environ=SHORT_TIMES) as ticking,
        api(environ=SHORT_TIMES) as (address, serving),
    ):
        before = order(api_client, "before")
        until(lambda: outcome(before)[0] == "fulfilled", "the order ends", process=process)
        measured = {one: descriptors(one) for one in (process, ticking, serving)}

        with refusing():
            during = order(api_client, "during")
            until(
                lambda: process.output().count(LOST) >= RECONNECTS,
                "the worker has reconnected many times",
                process=process,
                limit=120,
            )
            for _ in range(RECONNECTS):
                httpx.get(f"{address}/readyz", timeout=5, trust_env=False)
            more = {one.arguments[0]: descriptors(one) - number for one, number in measured.items()}

        assert max(more.values()) <= MOST_MORE, more
        until(lambda: outcome(during)[0] == "fulfilled", "the order ends", process=process)
        System([process]).wait_until_idle()
