"""A backlog drains in bounded memory and in batches, and new orders are processed meanwhile.

The backlog has 1,500 orders. BACKLOG=100000 makes it larger. The test prints its measurements.
"""

import os
import time
from contextlib import ExitStack

import psutil
import pytest

from inventory.services import adjust_stock
from orders.models import Order
from sagas import sql
from sagas.ids import uuid7
from tests.outside.harness import System, valkey
from tests.processes import beat, until, worker
from tests.system.harness import SERVICES, ended, order, outcome

SIZE = int(os.environ.get("BACKLOG", "1500"))
# Orders in one message. The backlog makes more than a hundred messages.
BATCH = max(10, min(100, SIZE // 150))
# Seconds to drain it, on a busy machine.
LIMIT = 120 + SIZE / 20

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.outside,
    pytest.mark.timeout(2 * LIMIT),
]

# Messages in all queues, including unacknowledged messages: a few for each batch.
MOST_MESSAGES = 100 + 4 * SIZE // BATCH
# Bytes of one process, including shared memory.
MOST_MEMORY = 256 * 2**20
# Seconds between two measurements.
PAUSE = 0.2

# Copies of an unprocessed order: the same rows with other ids.
COPY = {
    "orders_order": "jsonb_build_object('id', n.id, 'rescue_at', now() + interval '30 s')",
    "orders_orderline": (
        "jsonb_build_object('order_id', n.id,"
        " 'id', nextval(pg_get_serial_sequence('orders_orderline', 'id')))"
    ),
    "orders_outbox": (
        "jsonb_build_object('id', n.event, 'saga', n.id, 'due_at', now(),"
        " 'published_at', NULL, 'attempts', 0)"
    ),
}
KEY = {"orders_order": "id", "orders_orderline": "order_id", "orders_outbox": "saga"}


class Peaks:
    """The peak values of everything measured."""

    def __init__(self, processes):
        self.processes = processes
        self.messages = 0
        self.memory = {}
        self.measured_at = 0.0

    def measure(self):
        """Measure again after PAUSE seconds."""
        if time.monotonic() < self.measured_at + PAUSE:
            return

        self.measured_at = time.monotonic()
        with valkey() as client:
            messages = client.hlen("unacked") + sum(client.llen(queue) for queue in SERVICES)
            self.messages = max(self.messages, messages)
            self._note("valkey", client.info("memory")["used_memory_rss"])

        for name, process in self.processes.items():
            parent = psutil.Process(process.popen.pid)
            for measured in (parent, *parent.children()):
                self._note(name, measured.memory_info().rss)

    def _note(self, name, size):
        self.memory[name] = max(self.memory.get(name, 0), size)


def multiply(order_id, copies):
    """Insert `copies` copies of an order, all due at once."""
    ids = {
        "template": order_id,
        "ids": [uuid7() for _ in range(copies)],
        "events": [uuid7() for _ in range(copies)],
    }
    for table, changes in COPY.items():
        copy = f"""
            INSERT INTO {table} SELECT (jsonb_populate_record(t, {changes})).*
              FROM {table} t, unnest(%(ids)s::uuid[], %(events)s::uuid[]) AS n(id, event)
             WHERE t.{KEY[table]} = %(template)s
        """
        sql.run("default", copy, ids)


def still_open():
    return Order.objects.filter(ended_at=None).count()


def test_a_backlog_drains_in_bounded_memory_while_new_orders_end(api_client, capsys, settings):
    settings.OUTBOX_BATCH_SIZE, environ = BATCH, {"OUTBOX_BATCH_SIZE": str(BATCH)}
    adjust_stock(sku="MUG", quantity=SIZE, reason="delivery", by="tests")
    multiply(order(api_client, "first"), SIZE - 1)
    started, overtaken = time.monotonic(), []

    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(worker(name, environ=environ, concurrency=2))
            for name in SERVICES
        }
        processes["beat"] = stack.enter_context(beat(environ=environ))
        system, peaks = System([processes[name] for name in SERVICES]), Peaks(processes)

        def wait(condition, label):
            until(
                lambda: peaks.measure() or condition(),
                label,
                limit=LIMIT,
                process=processes["orders"],
            )

        wait(lambda: still_open() < 0.95 * SIZE, "the backlog drains")
        for number in range(5):
            before, new_order = still_open(), order(api_client, f"new-{number}")
            wait(lambda new_order=new_order: ended(new_order), "a new order has ended")
            overtaken.append(still_open() / before)
            assert outcome(new_order) == ("fulfilled", "")
            if still_open() < SIZE / 2:  # the next order would meet too little of the backlog
                break

        wait(lambda: still_open() == 0, "the backlog is drained")
        seconds = time.monotonic() - started
        system.wait_until_idle()

    with capsys.disabled():
        shares = ", ".join(f"{share:.1%}" for share in overtaken)
        sizes = ", ".join(
            f"{name} {size / 2**20:.0f} MiB" for name, size in sorted(peaks.memory.items())
        )
        print(  # noqa: T201
            f"\n{SIZE:,} orders in {seconds:.0f} s; "
            f"at most {peaks.messages} messages in the broker; {sizes}; "
            f"of the backlog a new order met, still open as it ended: {shares}"
        )

    assert peaks.messages <= MOST_MESSAGES
    assert max(peaks.memory.values()) <= MOST_MEMORY
