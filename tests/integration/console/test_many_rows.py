"""Many finished orders: every page of the console reads few rows of each table, by index, in at
most twenty queries; the page of an order takes 24.

A hundred thousand of them; MANY=1000000 makes it a million, with the limits that the console really
has.
"""

import json
import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.core.management import call_command
from django.db import connections
from django.test.utils import CaptureQueriesContext

from console.dashboard import sections
from console.failures.grouping import current_failures
from inventory.models import StockItem
from payments.models import Inbox
from sagas import sql
from sagas.admin import changelist
from sagas.admin.changelist import BoundedPaginator
from services import NAMES, VARIABLES
from tests.integration.console.operators import stuck
from tests.integration.orders import harness
from tests.processes import url
from tools.benchmarks.history import write_history
from tools.benchmarks.order_data import SKUS
from tools.local.rundir import RunDir
from tools.local.stack import Stack

MANY = int(os.environ.get("MANY", "100000"))
A_MILLION = MANY >= 1_000_000

# Rows that one statement may actually read (not the planner's estimate), with the console's limits
# lowered to these.
NEWEST, PAGED = 2_000, 1_000
MOST_READ = 120_000 if A_MILLION else 12_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1_200),
    pytest.mark.django_db(databases="__all__"),
]

# Without the chain, because many entries of one transaction would lock its head again and again.
NO_CHAIN = "ALTER TABLE console_logentry DISABLE TRIGGER console_log_chain"
CHAIN = "ALTER TABLE console_logentry ENABLE TRIGGER console_log_chain"
LOG = """
INSERT INTO console_logentry
       (id, seq, at, who, what, action, run, order_id, why, outcome, failure, about)
SELECT uuidv7(make_interval(secs => -n)), -n, now() - make_interval(secs => n), 'olga', 'acted',
       'retry', gen_random_uuid(), gen_random_uuid(), 'why', 'done', 'f' || n %% 100,
       'payments.charge: no luck'
  FROM generate_series(1, %(rows)s) n
"""
TASKS = """
INSERT INTO django_celery_results_taskresult
       (task_id, task_name, status, content_type, content_encoding, date_created, date_done, meta)
SELECT 'task-' || n, 'sagas.run_step', 'FAILURE', 'application/json', 'utf-8', now(),
       now() - make_interval(secs => n),
       jsonb_build_object('sagas', jsonb_build_array(gen_random_uuid()))
  FROM generate_series(1, %(rows)s) n
"""
EVENTS = """
INSERT INTO payments_webhookevent (id, type, object_id, order_id, effect, happened_at, received_at)
SELECT 'evt_' || n, 'charge.succeeded', 'ch_' || n, gen_random_uuid(), 'noted', now(),
       now() - make_interval(secs => n)
  FROM generate_series(1, %(rows)s) n
"""

FILTERS = {
    "orders/order": [
        *(
            {"status__exact": status}
            for status in ("pending", "paid", "fulfilled", "cancelling", "cancelled")
        ),
        *({"show": shown} for shown in ("open", "all")),
        *({"needs_attention__exact": flag} for flag in ("0", "1")),
        {"status__exact": "fulfilled", "show": "open"},
        {"older": "1d"},
        {"q": "admin"},
        {"q": "nobody"},
        {"o": "4"},
        {"p": "5"},
        {"failure": "0" * 16},
    ],
    "staff/logentry": [
        {},
        {"what__exact": "declined"},
        {"action__exact": "cancel"},
        {"via__exact": "api"},
        {"q": "olga"},
        {"q": "nobody"},
    ],
    "django_celery_results/taskresult": [
        {},
        {"status__exact": "RETRY"},
        {"task": "sagas.flush"},
        {"q": "nothing"},
    ],
    "payments/payment": [
        {},
        {"status__exact": "pending"},
        {"q": "ch_none"},
        {"follow_at__isempty": "0"},
        *({"money": reason} for reason in ("owed", "disputed", "unknown")),
    ],
    "payments/dispute": [{}, {"status__exact": "open"}, {"q": "ch_none"}],
    "payments/drift": [{}, {"closed_at__isempty": "1"}, {"kind__exact": "amount"}],
    "payments/webhookevent": [{}, {"q": "ch_none"}, {"p": "5"}],
    "payments/simulatedcharge": [{}, {"kind__exact": "refund"}, {"q": "ch_none"}],
    "inventory/reservation": [{}, {"state__exact": "held"}, {"q": "BENCH-001"}, {"q": "NONE"}],
    "inventory/stockitem": [{}, {"q": "BENCH"}],
    **{
        f"{service}/outbox": [
            {},
            *({"state": state} for state in ("due", "leased", "published", "failed")),
            *({"step": f"{service}.{step}"} for step in ("charge", "reserve", "cancel")),
            {"older": "1h"},
            {"older": "1d", "state": "published"},
            *(
                {"q": term}
                for term in (
                    "order.created",
                    "nothing like it",
                    "01890000-0000-7000-8000-000000000000",
                )
            ),
            {"o": "5"},
            {"p": "5"},
        ]
        for service in ("orders", "payments", "inventory")
    },
    **{
        f"{service}/inbox": [
            {},
            *(
                {"state__exact": state}
                for state in (
                    "parked",
                    "agreed",
                    "failing",
                    "started",
                    "waiting",
                    "done",
                    "refused",
                )
            ),
            *({"step": f"{service}.{step}"} for step in ("charge", "reserve", "cancel")),
            {"older": "1h"},
            *(
                {"q": term}
                for term in ("no luck", "nothing like it", "01890000-0000-7000-8000-000000000000")
            ),
            {"o": "3"},
            {"p": "5"},
        ]
        for service in ("orders", "payments", "inventory")
    },
}


@pytest.fixture(scope="module", autouse=True)
def _many(django_db_setup, django_db_blocker):
    """Finished orders with all that their sagas left, and a few that are stuck."""
    with django_db_blocker.unblock():
        harness.user("admin", is_staff=True)
        StockItem.objects.bulk_create(StockItem(sku=sku, on_hand=1) for sku in SKUS)
        stack = Stack(
            run_dir=RunDir(Path()),
            api="",
            env={variable: url(alias) for alias, variable in VARIABLES.items()},
        )
        write_history(stack, MANY, notify=lambda _: None)
        sql.run("default", NO_CHAIN, {})
        for alias, statement in (("default", LOG), ("default", TASKS), ("payments", EVENTS)):
            sql.run(alias, statement, {"rows": MANY // 4})
        sql.run("default", CHAIN, {})
        for _ in range(12):
            stuck()
        for connection in connections.all():
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE")
        yield
        for alias in connections:
            call_command("flush", database=alias, interactive=False, verbosity=0)


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch):
    """Lower the console's limits in proportion to the number of rows."""
    if not A_MILLION:
        monkeypatch.setattr(changelist, "NEWEST", NEWEST)
        monkeypatch.setattr(BoundedPaginator, "MAX_COUNT", PAGED)


@contextmanager
def captured():
    """Yield the queries of each database: (alias, statement)."""
    with ExitStack() as stack:
        found = {
            alias: stack.enter_context(CaptureQueriesContext(connections[alias]))
            for alias in connections
        }
        asked: list[tuple[str, str]] = []
        yield asked
        asked += [(alias, query["sql"]) for alias, queries in found.items() for query in queries]


def nodes(plan):
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def read(alias, statement):
    """Run a statement; return how many rows it read from tables and indexes, and which tables it
    read through.
    """
    with connections[alias].cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
        (found,) = cursor.fetchone()
    [explained] = json.loads(found) if isinstance(found, str) else found
    scans = [node for node in nodes(explained["Plan"]) if "Scan" in node["Node Type"]]
    passed_by = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    rows = sum(
        node["Actual Loops"] * (node["Actual Rows"] + sum(node.get(key, 0) for key in passed_by))
        for node in scans
    )
    through = {node.get("Relation Name", "") for node in scans if node["Node Type"] == "Seq Scan"}
    return rows, through & LARGE, explained


LARGE = {
    *(
        f"{service}_{table}"
        for service in ("orders", "payments", "inventory")
        for table in ("outbox", "inbox")
    ),
    *(
        "orders_order",
        "orders_orderline",
        "orders_timelineevent",
        "payments_payment",
        "payments_simulatedcharge",
    ),
    *(
        "inventory_reservation",
        "console_logentry",
        "django_celery_results_taskresult",
        "payments_webhookevent",
    ),
}


def assert_cheap(asked, *, most=MOST_READ, queries=20):
    """Assert of all statements that they are few, and read few rows, none of them by reading a
    large table through.
    """
    selects = [
        (alias, statement)
        for alias, statement in asked
        if statement.lstrip().startswith(("SELECT", "WITH"))
    ]
    assert 0 < len(asked) <= queries, [statement[:120] for _, statement in asked]
    for alias, statement in selects:
        rows, through, explained = read(alias, statement)
        assert not through, (statement, explained)
        assert rows <= most, (statement, rows, explained)


@pytest.mark.parametrize(
    "address",
    [
        f"/admin/{page}/?{urlencode(query)}"
        for page, queries in FILTERS.items()
        for query in queries
    ],
)
def test_a_list_reads_few_rows_for_any_search(viewer, address):
    with captured() as asked:
        assert viewer.get(address).status_code == 200
    assert_cheap(asked)


def test_the_page_of_an_order_and_its_export_read_little(viewer):
    order = stuck()
    for address in ("change", "export"):
        with captured() as asked:
            assert viewer.get(f"/admin/orders/order/{order.id}/{address}/").status_code == 200
        # Four for disputes, open differences, findings and returns, and two for each service.
        assert_cheap(asked, queries=19 + 2 * len(NAMES))


def test_the_pages_of_rows_read_little(viewer):
    row = Inbox.objects.filter(state="waiting")[0]
    with captured() as asked:
        assert viewer.get(f"/admin/payments/inbox/{row.pk}/change/").status_code == 200
    assert_cheap(asked)


def test_failures_and_the_history_of_one_read_little(viewer):
    [group] = current_failures().groups
    for address in ("", f"{group.key}/", "f1/"):
        with captured() as asked:
            assert viewer.get(f"/admin/failures/{address}").status_code == 200
        assert_cheap(asked, queries=8 + 4 * len(NAMES))


@pytest.mark.parametrize(
    "name",
    [
        "orders",
        "charts",
        "money",
        "payments",
        "audit",
        "messages of orders",
        "messages of payments",
    ],
)
def test_a_section_of_the_start_page_reads_little(name):
    with captured() as asked:
        sections.probes()[name]()
    assert_cheap(asked)


def test_the_start_page_takes_few_queries_in_all_its_threads_together():
    with captured() as asked:
        for name, question in sections.probes().items():
            if name not in {"queues", "workers"}:
                question()
    # Ten for the money, and three for each service, that of the tests included. None depends on the
    # rows.
    assert len(asked) <= 20 + 3 * (len(NAMES) + 1)
