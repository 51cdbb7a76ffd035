"""The hot statements at a million rows: each finds its rows by an index, never by a full scan.

The partial index of unsent rows does not count. The planner takes it to be empty, but it is long
during a backlog.
"""

import json
from datetime import UTC, datetime

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from inventory import stock
from inventory.models import Reservation, StockItem
from orders import status_projection
from payments import webhooks
from payments.models import Payment
from sagas import queries, sql
from sagas.definition.hold_scope import HoldScope
from sagas.definition.messages import Message, OutboxRow, TimelineEntry
from sagas.ids import uuid7
from sagas.operations import redrive, retention
from sagas.operations.called_destinations import has_called
from sagas.storage import faults, hold_probes, inbox, outbox, timeline
from sagas.storage.registry import get_home, get_service
from tests.integration.orders.harness import order
from tests.trips.saga import TRIP

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.slow,
    pytest.mark.timeout(600),
]

CALLS = ("choose probes", "begin the calls of probes")
MILLION, AT_ONCE = 1_000_000, 100_000
ORDERS = get_service("orders")
HOME = get_home("orders")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

OLD_OUTBOX = """
INSERT INTO orders_outbox (id, saga, saga_started_at, seq, type, step, step_attempt, data, context,
                           plan, target, headers, created_at, due_at, published_at, attempts,
                           last_error)
SELECT uuidv7(), uuidv7(), now() - make_interval(secs => %(left)s - n), 1, 'order.created', '', 1,
       '{}', '{}', '{}', 'x', '{}', now(), now(), now(), 1, ''
  FROM generate_series(1, %(rows)s) n
"""
OLD_INBOX = """
INSERT INTO orders_inbox (saga, saga_started_at, step, state, attempts, error, due_at, created_at,
                          updated_at)
SELECT uuidv7(), now() - make_interval(secs => %(left)s - n), 'orders.fulfil', 'done', 1, '', now(),
       now(), now()
  FROM generate_series(1, %(rows)s) n
"""
BACKLOG = """
INSERT INTO orders_inbox (saga, saga_started_at, step, state, attempts, error, due_at, send_at,
                          created_at, updated_at)
SELECT uuidv7(), now(), 'orders.fulfil', 'waiting', 0, '', now(), now(), now(), now()
  FROM generate_series(1, %(rows)s) n
"""
OLD_ORDERS = """
INSERT INTO orders_order (id, user_id, status, amount, currency, payment_method, plan, redrives,
                          needs_attention, failure_code, failure_detail, ended_at, created_at)
SELECT uuidv7(), (SELECT min(id) FROM auth_user), 'fulfilled', 1, 'eur', 'x', '{}', 0,
       false, '', '', now(), now() - make_interval(secs => %(left)s - n)
  FROM generate_series(1, %(rows)s) n
"""
OLD_TIMELINE = """
INSERT INTO orders_timelineevent (id, saga, seq, type, service, step, attempt, at, detail)
SELECT uuidv7(), uuidv7(), 1, 'order.created', 'orders', '', 1,
       now() - make_interval(secs => %(left)s - n), '{}'
  FROM generate_series(1, %(rows)s) n
"""
OLD_PAYMENTS = """
INSERT INTO payments_payment (id, order_id, status, amount, currency, payment_method, charge_id,
                              charge_key, refund_key, created_at, updated_at)
SELECT uuidv7(), uuidv7(), 'captured', 1, 'eur', 'x', 'ch_' || n, 'c' || n, 'r' || n, now(), now()
  FROM generate_series(1, %(rows)s) n
"""
OLD_PARTIAL_REFUNDS = """
INSERT INTO payments_partialrefund (id, order_id, asked_amount, amount, currency, status, key)
SELECT uuidv7(), uuidv7(), 1, 1, 'eur', 'succeeded', 'k' || n
  FROM generate_series(1, %(rows)s) n
"""
OLD_RESERVATIONS = """
INSERT INTO inventory_reservation (order_id, sku, quantity, state)
SELECT uuidv7(), 'MUG', 1, 'shipped' FROM generate_series(1, %(rows)s) n
"""


@pytest.fixture(scope="module")
def statements(django_db_setup, django_db_blocker):
    """Return the plans of the hot statements on tables of a million rows."""
    with django_db_blocker.unblock():
        placed = order()
        for statement in (OLD_OUTBOX, OLD_INBOX, OLD_ORDERS, OLD_TIMELINE):
            for left in range(MILLION, 0, -AT_ONCE):  # within the limit that statements have
                sql.run("default", statement, {"rows": AT_ONCE, "left": left})
        for table in ("orders_outbox", "orders_inbox", "orders_order", "orders_timelineevent"):
            sql.run("default", f"ANALYZE {table}", {})
        work = hot(placed.id)
        plans = {name: explained(work[name]) for name in work}
        sql.run("default", BACKLOG, {"rows": AT_ONCE})
        return plans | {f"{name} during a backlog": explained(work[name]) for name in CALLS}


def hot(saga):
    message = Message(id=uuid7(), saga=saga, started_at=datetime.now(UTC), seq=1, context={})
    envelope = OutboxRow(
        **{
            name: getattr(message, name)
            for name in ("saga", "started_at", "seq", "context", "headers")
        },
        type="order.created",
        step="",
        step_attempt=1,
        data={},
        plan=TRIP.plan,
        target="trips.book",
    )
    entry = TimelineEntry(
        id=uuid7(),
        saga=saga,
        seq=1,
        type="payment.processed",
        service="payments",
        step="payments.charge",
        attempt=1,
        at=datetime.now(UTC),
        detail={},
    )
    fulfil = "orders.fulfil"
    return {
        "claim the oldest": lambda: outbox.claim(ORDERS, limit=100),
        "claim the newest": lambda: outbox.claim(ORDERS, limit=100, newest=True),
        "mark": lambda: outbox.mark_published(ORDERS, [envelope] * 100),
        "release": lambda: outbox.release(ORDERS, [envelope] * 100, error=""),
        "republish": lambda: outbox.republish(ORDERS, sagas=[saga]),
        "claim a step": lambda: inbox.claim(ORDERS, fulfil, TRIP.plan, [message] * 1, final=True),
        "claim due inbox rows": lambda: inbox.claim_due(ORDERS, limit=100),
        "bar a step": lambda: inbox.bar(ORDERS, fulfil, [message], reason=""),
        "find done sagas": lambda: inbox.sagas_done(ORDERS, fulfil, [saga]),
        "lock open rows": lambda: inbox.lock_open(ORDERS, fulfil, [saga]),
        "record results": lambda: inbox.record_results(
            ORDERS, fulfil, [inbox.StepResult(saga=saga, state="done")]
        ),
        "find a called destination": lambda: has_called(ORDERS, HoldScope(fulfil, "bank")),
        "release holds": lambda: hold_probes.release_proven(ORDERS),
        "choose probes": lambda: hold_probes.send_probes(ORDERS),
        "begin the calls of probes": lambda: hold_probes.begin_calls(
            ORDERS, fulfil, {saga: "bank"}
        ),
        "weigh failures": lambda: faults.weigh(ORDERS, fulfil, [(uuid7(), "bank")]),
        "record": lambda: timeline.record(HOME, [entry]),
        "raise the status": lambda: status_projection.apply([entry]),
        "redrive": lambda: redrive.run_once(HOME),
        "purge": lambda: retention.purge(ORDERS, retention.OpenSagas("orders", LONG_AGO, [])),
    }


def explained(work, alias="default"):
    """Run a function; return the plans of its statements."""
    connection = connections[alias]
    with CaptureQueriesContext(connection) as ran:
        work()
    statements = [
        one["sql"] for one in ran.captured_queries if one["sql"] not in ("BEGIN", "COMMIT")
    ]
    return [
        sql.fetch(alias, f"EXPLAIN (FORMAT JSON) {one}".replace("%", "%%"), {})[0][0]
        for one in statements
    ]


def nodes(plan):
    """Yield the nodes of a plan."""
    plan = json.loads(plan) if isinstance(plan, str) else plan
    waiting = [part["Plan"] for part in plan]
    while waiting:
        node = waiting.pop()
        waiting += node.get("Plans", [])
        yield node


def scanned(plans):
    """Return the tables that plans scan in full."""
    return {
        node["Relation Name"]
        for plan in plans
        for node in nodes(plan)
        if node["Node Type"] == "Seq Scan"
    }


def used(plans):
    """Return the indexes that plans use."""
    return {node["Index Name"] for plan in plans for node in nodes(plan) if "Index Name" in node}


@pytest.mark.parametrize("name", hot(None))
def test_no_hot_statement_scans_a_large_table(statements, name):
    assert statements[name]

    large = {"orders_outbox", "orders_inbox", "orders_order", "orders_timelineevent"}

    assert not scanned(statements[name]) & large


@pytest.mark.parametrize("name", ["mark", "release"])
def test_leased_rows_are_found_by_id_during_any_backlog(statements, name):
    assert used(statements[name]) == {"orders_outbox_pkey"}


@pytest.mark.parametrize("name", CALLS)
def test_calls_under_way_are_found_among_the_started_rows_during_any_backlog(statements, name):
    indexes = used(statements[f"{name} during a backlog"])
    assert "orders_inbox_claimed" in indexes
    assert "orders_inbox_send" not in indexes


@pytest.mark.parametrize("metadata", [{}, {"order_id": "0192f0c1-7c1e-7d3a-8b1c-2f4e6a8c0d12"}])
def test_an_event_of_the_provider_finds_its_payment_and_its_waits_by_their_ids(metadata):
    inbox_rows = OLD_INBOX.replace("orders_inbox", "payments_inbox")
    for statement in (OLD_PAYMENTS, OLD_PARTIAL_REFUNDS, inbox_rows):
        sql.run("payments", statement, {"rows": AT_ONCE, "left": AT_ONCE})
    for table in ("payments_payment", "payments_partialrefund", "payments_inbox"):
        sql.run("payments", f"ANALYZE {table}", {})
    about = webhooks.EventObject(id="ch_1", metadata=metadata)
    event = webhooks.StripeEvent(
        id="evt_1", type="charge.succeeded", created=1, data=webhooks.EventData(object=about)
    )
    order = Payment.objects.earliest("id").order_id
    plans = explained(
        lambda: (webhooks.receive(event), queries.wake_up("payments", [order])), "payments"
    )

    assert not scanned(plans) & {"payments_payment", "payments_partialrefund", "payments_inbox"}
    assert "payments_inbox_once" in used(plans)
    assert not used(plans) & {"payments_inbox_send", "payments_partialrefund_open"}


def test_reservations_are_found_by_order_however_many_other_orders_have():
    StockItem.objects.create(sku="MUG")
    sql.run("inventory", OLD_RESERVATIONS, {"rows": AT_ONCE})
    sql.run("inventory", "ANALYZE inventory_reservation", {})
    saga = uuid7()
    plans = explained(
        lambda: (
            stock.lock_items_of_orders([saga] * 100),
            stock.close_reservations([saga] * 100, Reservation.State.SHIPPED),
        ),
        "inventory",
    )

    assert "inventory_reservation_once" in used(plans)
    assert "inventory_reservation_held" not in used(plans)
    assert "inventory_reservation" not in scanned(plans)
