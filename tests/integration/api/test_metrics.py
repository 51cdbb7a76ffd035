"""`/metrics`: its values are right, its statements use indexes, and a fault of one section does not
affect the others.
"""

import json
import socket
import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from api.monitoring import health, metrics
from audit import metrics as audit_metrics
from audit.models import AuditRun, Finding
from config.version import VERSION
from inventory.models import Outbox as InventoryOutbox
from orders import metrics as orders_metrics
from orders.models import Hold as OrdersHold
from orders.models import Order
from payments import open_money
from payments.models import Hold as PaymentsHold
from payments.models import Inbox, Payment, Reconciliation
from payments.models import StepFault as PaymentsFault
from sagas.ids import uuid7
from sagas.observability import probes
from sagas.operations import holds, table_stats
from sagas.operations.table_stats import MOST_NAMED
from sagas.storage.registry import get_home
from staff.models import LogCheck
from tests.integration.console.payments_rows import (
    capture_waits,
    discrepancy,
    dispute,
    owed,
    payment,
)
from tests.trips.models import Cruise, Trip

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

STATES = ("started", "waiting", "agreed", "parked", "held", "done", "refused")
SECTIONS = {
    "orders messages",
    "payments messages",
    "inventory messages",
    "orders sagas",
    "orders",
    "money",
    "open payments",
    "discrepancies",
    "reconciliation",
    "audit",
    "console",
    "broker",
}


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Disable the cache of answers, and give a busy machine enough time for each."""
    monkeypatch.setattr(metrics, "KEPT", -1.0)
    monkeypatch.setattr(metrics, "LIMIT", 30)
    monkeypatch.setattr(health, "LIMIT", 30)


@pytest.fixture
def scrape(http):
    """Return a function that requests the metrics and returns each sample by name and labels."""

    def ask():
        answer = http.get("/metrics")
        assert answer.status_code == 200
        families = text_string_to_metric_families(answer.content.decode())
        return {
            (one.name, *sorted(one.labels.values())): one.value
            for family in families
            for one in family.samples
        }

    return ask


def down(samples):
    """Return the sections that did not answer."""
    return {
        key[1]
        for key, value in samples.items()
        if key[0] == "saga_metrics_section_up" and not value
    }


def placed(ada, **fields):
    """Insert an order."""
    return Order.objects.create(user=ada, amount=1_000, currency="eur", plan={}, **fields)


def captured(order, amount, currency="eur", *, ago=0):
    """Insert a captured payment of an order."""
    kept = Payment.objects.create(
        order_id=order.id,
        status="captured",
        amount=amount,
        currency=currency,
        charge_id=f"ch_{order.id}",
        charge_key=f"c{order.id}",
        refund_key=f"r{order.id}",
    )
    Payment.objects.filter(id=kept.id).update(updated_at=timezone.now() - timedelta(seconds=ago))


def written(service_outbox, **fields):
    """Insert a row of an outbox."""
    return service_outbox.objects.create(
        saga=uuid7(),
        saga_started_at=timezone.now(),
        seq=1,
        type="t",
        data={},
        context={},
        plan={},
        **fields,
    )


@contextmanager
def unreachable(alias, port):
    """Point a database to another port, for connections that are opened from now on."""
    before = dict(connections.settings[alias])
    connections.settings[alias].update(HOST="127.0.0.1", PORT=port)
    try:
        yield
    finally:
        connections.settings[alias].update(before)


def test_every_section_answers(scrape):
    samples = scrape()
    assert {key[1] for key in samples if key[0] == "saga_metrics_section_up"} >= SECTIONS
    assert down(samples) == set()


def test_orders_are_counted_by_status(scrape, ada):
    for status in ("pending", "pending", "paid"):
        placed(ada, status=status)
    placed(ada, status="fulfilled", ended_at=timezone.now())
    placed(ada, needs_attention=True, redrives=6, rescue_at=timezone.now() + timedelta(hours=1))
    samples = scrape()
    assert samples["orders_open", "pending"] == 3
    assert samples["orders_open", "paid"] == 1
    assert samples["orders_open", "fulfilled"] == 0
    assert samples["orders_needing_attention",] == 1
    assert samples["saga_open", "orders"] == 4
    assert samples["saga_stalled", "orders"] == 3
    assert samples["saga_redriven", "orders"] == 1


def test_sagas_that_need_attention_are_counted_by_home_and_kind(scrape, ada):
    placed(ada, needs_attention=True)
    Trip.objects.create(plan={}, needs_attention=True)
    Trip.objects.create(plan={}, needs_attention=True)
    Cruise.objects.create(plan={})
    samples = scrape()
    assert samples["saga_needing_attention", "orders", "orders.order"] == 1
    assert samples["saga_needing_attention", "trips", "trips.trip"] == 2
    assert samples["saga_needing_attention", "trips", "trips.cruise"] == 0
    assert samples["saga_open", "trips"] == 3


def test_the_total_is_estimated_once_postgresql_has_analyzed(scrape, ada):
    for _ in range(10):
        placed(ada, status="fulfilled", ended_at=timezone.now())
    with connections["default"].cursor() as cursor:
        cursor.execute("ANALYZE orders_order")
    assert scrape()["orders_estimated", "fulfilled"] == 10


def test_the_backlog_of_an_outbox_and_the_age_of_its_oldest_row(scrape):
    hour = timezone.now() - timedelta(hours=1)
    written(InventoryOutbox, created_at=hour)
    written(InventoryOutbox, due_at=timezone.now() + timedelta(minutes=1))
    written(InventoryOutbox, published_at=timezone.now(), created_at=hour - timedelta(days=1))
    written(InventoryOutbox, due_at="9999-01-01T00:00:00Z", created_at=hour - timedelta(days=2))
    samples = scrape()
    assert samples["saga_outbox_rows", "due", "inventory"] == 1
    assert samples["saga_outbox_rows", "inventory", "leased"] == 1
    assert samples["saga_outbox_rows", "inventory", "parked"] == 1
    assert 3_600 <= samples["saga_outbox_oldest_seconds", "inventory"] < 3_700
    assert samples["saga_outbox_oldest_seconds", "payments"] == 0


def test_open_steps_are_counted_by_state(scrape):
    now = timezone.now()
    open_ = (("waiting", now, 2), ("waiting", now, 0), ("waiting", None, 0), ("started", now, 1))
    for state, send_at, attempts in (
        *open_,
        ("held", None, 0),
        ("done", None, 1),
        ("refused", None, 1),
    ):
        Inbox.objects.create(
            saga=uuid7(),
            saga_started_at=now,
            step="payments.charge",
            state=state,
            send_at=send_at,
            attempts=attempts,
        )
    samples = scrape()
    rows = {
        state: samples.get(
            ("saga_inbox_open_rows", *sorted(("payments", "payments.charge", state)))
        )
        for state in STATES
    }
    assert rows == {
        "started": 1,
        "waiting": 1,
        "agreed": 1,
        "parked": 1,
        "held": 1,
        "done": None,
        "refused": None,
    }


def test_holds_have_their_age_and_their_orders_are_neither_stalled_nor_old(scrape, ada):
    hour = timezone.now() - timedelta(hours=1)
    order, waiting = placed(ada), placed(ada, on_hold="payments.charge")
    Order.objects.update(created_at=hour)
    for hold in (PaymentsHold, OrdersHold):  # the second is the copy at the home of the sagas
        hold.objects.create(step="payments.charge", since=hour, by="anna", why="Cards are refused.")
        hold.objects.create(saga=order.id, since=hour, by="olga", why="The address is odd.")
    samples = scrape()
    assert 3_600 <= samples["saga_step_hold_seconds", "payments", "payments.charge"] < 3_700
    assert ("saga_step_hold_seconds", "orders", "payments.charge") not in samples
    assert samples["saga_holds", "payments"] == 1
    assert 3_600 <= samples["saga_hold_oldest_seconds", "payments"] < 3_700
    assert samples["saga_on_hold", "orders"] == 2
    assert (samples["saga_stalled", "orders"], samples["saga_open_oldest_seconds", "orders"]) == (
        0,
        0,
    )
    PaymentsHold.objects.all().delete()
    OrdersHold.objects.filter(step="payments.charge").delete()
    Order.objects.filter(id=waiting.id).update(created_at=hour)
    assert scrape()["saga_open_oldest_seconds", "orders"] > 3_599


def test_automatic_holds_and_shared_faults_are_measured(scrape, ada):
    PaymentsHold.objects.create(step="payments.charge", automatic=True, why="HTTP 503")
    PaymentsHold.objects.create(step="payments.refund", by="anna", why="Refunds are refused.")
    PaymentsHold.objects.create(
        calling_step="payments.void", destination="stripe", automatic=True, why="HTTP 503"
    )
    for saga in (uuid7(), uuid7()):
        PaymentsFault.objects.create(
            id=uuid7(),
            step="payments.void",
            pattern=uuid7(),
            saga=saga,
            blame="order",
            error="boom",
            shared=True,
        )
    samples = scrape()
    metric = "saga_step_automatic_hold_seconds"
    assert 0 <= samples[metric, "payments", "payments.charge"] < 100
    assert (metric, "payments", "payments.refund") not in samples
    assert 0 <= samples[metric, "payments", "payments.void", "stripe"] < 100
    assert "saga_holds" not in {name for name, *_ in samples}
    assert samples["saga_step_fault_orders", "payments", "payments.void"] == 2
    assert samples["saga_step_fault_orders_in_all", "payments", "payments.void"] == 2


def test_an_order_that_failed_at_two_outside_systems_is_one_of_its_step(scrape):
    saga = uuid7()
    for place in range(MOST_NAMED + 5):
        PaymentsFault.objects.create(
            id=uuid7(),
            step="payments.void",
            destination=f"bank/{place:02}",
            pattern=uuid7(),
            saga=saga,
            blame="provider",
            error="HTTP 503",
            shared=True,
        )
    assert scrape()["saga_step_fault_orders_in_all", "payments", "payments.void"] == 1


def test_many_outside_systems_on_hold_or_at_fault_are_counted_and_the_first_are_named(scrape, ada):
    number, now = MOST_NAMED + 5, timezone.now()
    step, failing = "payments.charge", "payments.void"
    for place in range(number):
        PaymentsHold.objects.create(
            calling_step=step,
            destination=f"bank/{place:02}",
            since=now - timedelta(minutes=number - place),
            automatic=place < number - 1,
            why="HTTP 503",
        )
        for at in (step, failing, *([failing] if place == number - 1 else ())):
            PaymentsFault.objects.create(
                id=uuid7(),
                step=at,
                destination=f"bank/{place:02}",
                pattern=uuid7(),
                saga=uuid7(),
                blame="provider",
                error="HTTP 503",
                shared=True,
            )
    samples = scrape()

    def named(metric, step):
        return {key[1] for key in samples if key[0] == metric and key[-1] == step}

    oldest = {f"bank/{place:02}" for place in range(MOST_NAMED)}
    assert named("saga_step_automatic_hold_seconds", step) == oldest
    assert named("saga_step_hold_seconds", step) == {*oldest, f"bank/{number - 1}"}
    assert samples["saga_step_hold_destinations", "payments", step] == number
    assert samples["saga_step_automatic_hold_destinations", "payments", step] == number - 1
    most = {f"bank/{place:02}" for place in (number - 1, *range(MOST_NAMED - 1))}
    assert named("saga_step_fault_orders", failing) == most
    assert named("saga_step_fault_orders", step) == set()
    assert samples["saga_step_fault_destinations", "payments", failing] == number
    assert samples["saga_step_fault_orders_in_all", "payments", failing] == number + 1


def test_captured_money_is_unsettled_while_its_order_is_open(scrape, ada):
    for amount, currency, ago in ((1_000, "eur", 90), (250, "eur", 5), (700, "usd", 30)):
        captured(placed(ada, status="paid"), amount, currency, ago=ago)
    captured(placed(ada, status="fulfilled", ended_at=timezone.now()), 9_999)
    samples = scrape()
    assert samples["money_in_limbo_minor_units", "eur"] == 1_250
    assert samples["money_in_limbo_minor_units", "usd"] == 700
    assert samples["money_in_limbo_orders", "eur"] == 2
    assert 90 <= samples["money_in_limbo_oldest_seconds", "eur"] < 200
    assert samples["money_in_limbo_complete",] == 1


def test_unsettled_money_is_incomplete_if_not_all_open_orders_were_read(scrape, ada, monkeypatch):
    monkeypatch.setattr(audit_metrics, "ORDERS", 1)
    for _ in range(2):
        captured(placed(ada), 500)
    samples = scrape()
    assert samples["money_in_limbo_complete",] == 0
    assert samples["money_in_limbo_minor_units", "eur"] == 500


def test_captured_money_of_orders_that_are_all_on_hold_has_no_age(scrape, ada):
    order = placed(ada, status="paid")
    captured(order, 500)
    OrdersHold.objects.create(saga=order.id, by="olga", why="The address is odd.")
    samples = scrape()
    assert samples["money_in_limbo_minor_units", "eur"] == 500
    assert ("money_in_limbo_oldest_seconds", "eur") not in samples


def test_unsettled_money_is_the_captured_amount_that_is_still_ours(scrape, ada):
    order = placed(ada, status="paid")
    payment(order.id, status="captured", captured_amount=900, refunded_amount=250, ago=600)
    Payment.objects.update(updated_at=timezone.now())
    samples = scrape()
    assert samples["money_in_limbo_minor_units", "eur"] == 650
    assert samples["money_in_limbo_oldest_seconds", "eur"] >= 600


def test_money_of_an_order_that_waits_as_agreed_has_no_age(scrape, ada):
    later = timezone.now() + timedelta(days=3)
    captured(placed(ada, status="cancelling", waits_until=later), 500, ago=3_600)
    samples = scrape()
    assert samples["money_in_limbo_minor_units", "eur"] == 500
    assert ("money_in_limbo_oldest_seconds", "eur") not in samples
    assert samples["saga_open_oldest_seconds", "orders"] == 0


def test_a_step_that_is_asked_again_while_it_waits_as_agreed_is_not_old(scrape):
    now = timezone.now()
    for state, attempts in (("waiting", 0), ("started", 1), ("started", 2)):
        Inbox.objects.create(
            saga=uuid7(),
            saga_started_at=now,
            step=f"payments.{state}{attempts}",
            state=state,
            attempts=attempts,
            send_at=now,
            created_at=now - timedelta(hours=2),
        )
    samples = scrape()
    ages = {
        key[1:]: value for key, value in samples.items() if key[0] == "saga_inbox_oldest_seconds"
    }
    assert ages["agreed", "payments", "payments.waiting0"] > 7_000
    assert ages["payments", "payments.started1", "started"] < 600
    assert ages["payments", "payments.started2", "started"] > 7_000


def test_a_charge_of_unknown_outcome_counts_unless_it_waits_as_agreed(scrape):
    later = timezone.now() + timedelta(days=2)
    payment(amount=26_100, ago=5), payment(currency="usd", expected_at=later)
    payment(currency="usd", action_expires_at=later), payment(status="declined", currency="usd")
    samples = scrape()
    assert samples["money_outcome_unknown_minor_units", "eur"] == 26_100
    assert samples["money_outcome_unknown_payments", "eur"] == 1
    assert 5 <= samples["money_outcome_unknown_oldest_seconds", "eur"] < 100
    assert ("money_outcome_unknown_minor_units", "usd") not in samples


def test_an_authorized_payment_is_of_unknown_outcome_while_its_capture_is_open(scrape):
    until = timezone.now() + timedelta(days=4)
    waits = payment(status="authorized", authorization_expires_at=until)
    payment(status="authorized", authorization_expires_at=until)
    assert ("money_outcome_unknown_payments", "eur") not in scrape()
    capture_waits(waits.order_id)
    assert scrape()["money_outcome_unknown_payments", "eur"] == 1


def test_money_that_is_owed_to_customers(scrape):
    owed(owed_amount=1_000, ago=90), owed(owed_amount=250)
    payment(status="refunded", refunded_amount=1_250)
    samples = scrape()
    assert samples["money_owed_late_payments", "eur"] == 2
    assert samples["money_owed_minor_units", "eur"] == 1_250
    assert samples["money_owed_payments", "eur"] == 2
    assert 90 <= samples["money_owed_oldest_seconds", "eur"] < 200


def test_a_refund_that_is_under_way_is_owed_but_not_late(scrape):
    now = timezone.now()
    owed(expected_at=now + timedelta(days=3))
    samples = scrape()
    assert samples["money_owed_payments", "eur"] == 1
    assert samples["money_owed_late_payments", "eur"] == 0
    owed(expected_at=now - timedelta(seconds=1))
    assert scrape()["money_owed_late_payments", "eur"] == 1


def test_open_disputes_with_their_next_deadline(scrape):
    soon = timezone.now() + timedelta(hours=5)
    for at in (soon + timedelta(days=1), soon, soon - timedelta(days=1), None):
        dispute(payment(status="captured"), respond_by=at)
    dispute(payment(status="captured"), status="lost", respond_by=None)
    samples = scrape()
    assert samples["payments_disputes_open", "eur"] == 4
    assert samples["payments_disputes_open_minor_units", "eur"] == 5_000
    assert samples["payments_disputes_respond_by_timestamp_seconds", "eur"] == pytest.approx(
        soon.timestamp(), abs=1e-3
    )


def test_open_discrepancies_by_kind(scrape):
    discrepancy(), discrepancy()
    discrepancy(kind="uncharged", closed_at=timezone.now(), closed_by="ann", closed_why="A gift.")
    samples = scrape()
    assert samples["payments_discrepancies_open", "amount"] == 2
    assert samples["payments_discrepancies_open", "uncharged"] == 0


def test_a_database_that_is_down_affects_only_its_own_sections(scrape, ada):
    placed(ada)
    with unreachable("payments", 1):
        samples = scrape()
        assert down(samples) == {
            "payments messages",
            "money",
            "open payments",
            "discrepancies",
            "reconciliation",
        }
        assert not [key for key in samples if key[0].startswith(("money_", "payments_"))]
    assert down(scrape()) == set()


def test_a_database_that_hangs_does_not_delay_the_answer(scrape, http, monkeypatch):
    monkeypatch.setattr(metrics, "LIMIT", 2)
    monkeypatch.setattr(health, "LIMIT", 2)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        unreachable("inventory", silent.getsockname()[1]),
    ):
        assert "inventory messages" in down(scrape())
        answer = http.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
        assert answer.json()["checks"]["inventory database"] == "unavailable"
        under_way = len([one for one in probes._running.values() if not one.done()])
        assert "inventory messages" in down(scrape())
        assert len([one for one in probes._running.values() if not one.done()]) <= under_way


def test_a_broker_that_is_down_is_reported(scrape, broker):
    broker.kill()
    samples = scrape()
    assert down(samples) == {"broker"}
    assert not [key for key in samples if key[0] == "saga_queue_messages"]


def test_concurrent_requests_share_an_answer(http, monkeypatch):
    monkeypatch.setattr(metrics, "KEPT", 60)
    monkeypatch.setattr(metrics, "_snapshots", metrics._Snapshots())
    taken = []
    take = metrics._take

    def counted():
        taken.append(1)
        return take()

    monkeypatch.setattr(metrics, "_take", counted)
    threads = [threading.Thread(target=http.get, args=("/metrics",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1


def test_with_a_token_set_only_its_bearer_may_read(http, settings):
    settings.METRICS_TOKEN = "s3cret"
    assert http.get("/metrics").status_code == 401
    assert http.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert http.get("/metrics", headers={"Authorization": "Bearer s3cret\xe9"}).status_code == 401
    assert http.get("/metrics", headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_only_reading_is_allowed_and_head_is_reading(http):
    assert http.post("/metrics").status_code == 405
    for path in ("/metrics", "/healthz", "/readyz"):
        answer = http.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


ON_HOLD = holds.is_on_hold(get_home("orders"))
STATEMENTS = [
    ("default", table_stats.SAGAS.format(tracked="orders_order", on_hold=ON_HOLD)),
    ("default", orders_metrics.OPEN),
    ("default", orders_metrics.ATTENTION),
    ("default", audit_metrics.OPEN.format(on_hold=ON_HOLD)),
    ("payments", audit_metrics.CAPTURED),
    ("payments", open_money.UNKNOWN),
    ("payments", open_money.OWED),
    ("payments", open_money.DISPUTES),
    ("payments", open_money.DISCREPANCIES),
    ("payments", table_stats.OUTBOX.format(outbox="payments_outbox")),
    ("payments", table_stats.INBOX.format(inbox="payments_inbox")),
]

FILL = {
    "default": """
        INSERT INTO orders_order (id, user_id, amount, currency, payment_method, plan,
               redrives, needs_attention,
                                  ended_at, status)
        SELECT gen_random_uuid(), %(user)s, 1, 'eur', 'm', '{}', 0, n %% 500 = 0,
               CASE WHEN n %% 100 > 0 THEN now() END, 'fulfilled' FROM generate_series(1, 30000) n;
        ANALYZE orders_order
    """,
    "payments": """
        INSERT INTO payments_payment (id, order_id, status, amount, currency, payment_method,
               charge_id, charge_key,
                                      refund_key)
        SELECT gen_random_uuid(), gen_random_uuid(), 'captured', 1, 'eur', 'm', n::text,
               n::text, n::text
          FROM generate_series(1, 30000) n;
        INSERT INTO payments_outbox (id, saga, saga_started_at, seq, type, step, step_attempt,
               data, context, plan,
                                     headers, attempts, last_error, published_at)
        SELECT gen_random_uuid(), gen_random_uuid(), now(), 1, 't', '', 1, '{}', '{}', '{}',
               '{}', 1, '',
               CASE WHEN n %% 100 > 0 THEN now() END FROM generate_series(1, 30000) n;
        INSERT INTO payments_inbox (saga, saga_started_at, step, state, attempts, error, send_at)
        SELECT gen_random_uuid(), now(), 's',
               CASE WHEN n %% 100 > 0 THEN 'done' ELSE 'waiting' END, 1, '', now()
          FROM generate_series(1, 30000) n;
        INSERT INTO payments_dispute (id, order_id, charge_id, amount, currency, status, reason,
                                      opened_at)
        SELECT n::text, gen_random_uuid(), n::text, 1, 'eur',
               CASE WHEN n %% 100 > 0 THEN 'won' ELSE 'open' END, 'fraudulent', now()
          FROM generate_series(1, 30000) n;
        INSERT INTO payments_drift (id, kind, reference, ours, theirs, currency, closed_at,
                                    closed_by, closed_why)
        SELECT gen_random_uuid(), 'amount', n::text, 1, 2, 'eur', closed.at,
               CASE WHEN closed.at IS NULL THEN '' ELSE 'ada' END, 'why'
          FROM generate_series(1, 30000) n,
               LATERAL (SELECT CASE WHEN n %% 100 > 0 THEN now() END AS at) closed;
        INSERT INTO payments_partialrefund (id, order_id, asked_amount, amount, currency, key,
                                            status)
        SELECT gen_random_uuid(), gen_random_uuid(), 1, 1, 'eur', n::text,
               CASE WHEN n %% 100 > 0 THEN 'succeeded' ELSE 'failed' END
          FROM generate_series(1, 30000) n;
        ANALYZE payments_payment, payments_outbox, payments_inbox, payments_dispute, payments_drift,
                payments_partialrefund
    """,
}


def nodes(plan):
    """Return the types of all nodes of a plan, except on the table of holds, which is small."""
    below = [kind for child in plan.get("Plans", ()) for kind in nodes(child)]
    return below if plan.get("Relation Name", "").endswith("_hold") else [plan["Node Type"], *below]


def test_every_statement_uses_an_index(ada):
    for alias, statements in FILL.items():
        with connections[alias].cursor() as cursor:
            for statement in statements.split(";"):
                cursor.execute(statement, {"user": ada.id} if "%(user)s" in statement else {})
    params: dict[str, Any] = {
        "most": table_stats.COUNT_LIMIT,
        "orders": audit_metrics.ORDERS,
        "ageless": [],
        "capture": open_money.CAPTURE_STEP,
    }
    for alias, statement in STATEMENTS:
        wanted = params | ({"orders": [uuid7() for _ in range(500)]} if alias == "payments" else {})
        with connections[alias].cursor() as cursor:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", wanted)
            [(plan,)] = cursor.fetchall()
        found = nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"])
        assert "Seq Scan" not in found, (statement, found)
        assert any("Index" in node for node in found), (statement, found)


def test_the_last_reconciliation_and_audit_are_0_before_the_first(scrape):
    samples = scrape()
    assert samples["reconciliation_last_run_timestamp_seconds", "simulated"] == 0
    assert samples["reconciliation_compared_until_timestamp_seconds", "simulated"] == 0
    assert samples["audit_last_run_timestamp_seconds",] == 0
    assert ("audit_violations",) not in samples


def test_the_last_check_of_the_log_is_0_before_the_first(scrape):
    samples = scrape()
    assert samples["audit_log_last_check_timestamp_seconds",] == 0
    assert ("audit_log_intact",) not in samples


@pytest.mark.parametrize(("fault", "intact"), [("", 1), ("entry 3 was changed", 0)])
def test_the_last_check_of_the_log_shows_its_time_and_its_result(scrape, fault, intact):
    now = timezone.now()
    LogCheck.objects.create(seq=0, hash=b"", checked_at=now, fault=fault)
    samples = scrape()
    assert samples["audit_log_last_check_timestamp_seconds",] == pytest.approx(now.timestamp())
    assert samples["audit_log_intact",] == intact


def test_the_last_reconciliation_and_audit_show_their_end_and_their_progress(scrape):
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    end = timezone.now() - hour
    Reconciliation.objects.create(
        since=end - hour, until=end, movements=1, drifts=0, finished_at=end + minute
    )
    Reconciliation.objects.create(
        gateway="simulated",
        since=end,
        until=end + hour,
        compared_until=end + 5 * minute,
        movements=1,
        drifts=0,
        finished_at=None,
    )
    AuditRun.objects.create(since=end - hour, until=end, finished_at=end + minute)
    Finding.objects.create(invariant="I6", subject="MUG", detail="on hand -1")
    Finding.objects.create(
        invariant="I21", subject=str(uuid7()), detail="trip: no effect", kind="trips.trip"
    )
    samples = scrape()
    finished = pytest.approx((end + minute).timestamp(), abs=1e-3)
    assert samples["reconciliation_last_run_timestamp_seconds", "simulated"] == finished
    assert samples["audit_last_run_timestamp_seconds",] == finished
    compared = samples["reconciliation_compared_until_timestamp_seconds", "simulated"]
    assert compared == pytest.approx((end + 5 * minute).timestamp(), abs=1e-3)
    assert samples["audit_violations",] == 2
    of_kinds = {
        kind: samples["audit_saga_violations", *kind]
        for kind in (("orders", "orders.order"), ("trips", "trips.trip"), ("trips", "trips.cruise"))
    }
    assert list(of_kinds.values()) == [0, 1, 0]


def test_the_release_of_the_process_is_a_label(scrape):
    assert ("saga_build_info", VERSION) in scrape()
