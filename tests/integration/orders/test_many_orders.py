"""Every list reads its rows by an index, for every user, filter and direction.

The tests use a hundred thousand orders. A full scan costs ten times as much for a million, and an
index almost the same. So a plan that beats the scan here also beats it there. Sorting grows with
the rows, so few rows may be sorted.
"""

import json
from datetime import timedelta
from itertools import product
from urllib.parse import quote

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from api.resources.records import purge_records
from orders.models import IdempotencyKey
from tests.integration.orders import harness

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(databases="__all__"),
]

MANY = 100_000

# Rows that PostgreSQL may sort, by its own estimate: of a million, as many as are on two hundred
# pages.
FEW = MANY // 100

# One in twenty is cancelled and one in a thousand open, as the newest are; one in two thousand
# needs attention. Ada has a tenth of all.
ORDERS = """
INSERT INTO orders_order (
  id, user_id, status, amount, currency, payment_method, plan, failure_code, failure_detail,
  created_at, updated_at, ended_at, rescue_at, redrives, needs_attention)
SELECT uuidv7(-age), CASE WHEN n %% 10 = 0 THEN %(ada)s ELSE %(bob)s END, status,
       2500, 'eur', 'pm_card_visa', '{}',
       CASE WHEN status = 'cancelled' THEN 'out_of_stock' ELSE '' END, '',
       now() - age, now() - age, CASE WHEN status <> 'paid' THEN now() - age END,
       now(), 0, n %% 2000 = 0
  FROM (SELECT n, n * interval '5 minutes' AS age,
               CASE WHEN n <= %(count)s / 1000 THEN 'paid'
                    WHEN n %% 20 = 1 THEN 'cancelled' ELSE 'fulfilled' END AS status
          FROM generate_series(1, %(count)s) AS n) AS made
"""

# Each of the newest orders has a line. PostgreSQL reads a table in full that it knows to be empty.
LINES = """
INSERT INTO orders_orderline (order_id, sku, quantity, unit_amount)
SELECT id, 'MUG', 1, 2500 FROM orders_order ORDER BY orders_order.id DESC LIMIT %(count)s
"""

# One in twenty is cancelled, one in a thousand open and one in five hundred goodwill.
RETURNED = """
INSERT INTO returns_returnedorder (order_id, user_id, amount, currency)
SELECT ('01890000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, %(ada)s, 2500, 'eur'
  FROM generate_series(1, %(count)s / 10) AS n
"""
RETURNS = """
INSERT INTO returns_return (
  id, order_id, user_id, kind, status, amount, currency, reason, given_by, plan, failure_code,
  failure_detail, created_at, updated_at, ended_at, rescue_at, redrives, needs_attention)
SELECT uuidv7(-age),
       ('01890000-0000-7000-8000-' || lpad((1 + n %% (%(count)s / 10))::text, 12, '0'))::uuid,
       CASE WHEN n %% 10 = 0 THEN %(ada)s ELSE %(bob)s END,
       CASE WHEN n %% 500 = 0 THEN 'goodwill' ELSE 'goods' END, status, 1250, 'eur', 'Red.', '',
       '{}', CASE WHEN status = 'cancelled' THEN 'goods_missing' ELSE '' END, '', now() - age,
       now() - age, CASE WHEN status <> 'awaiting_goods' THEN now() - age END, now(), 0,
       n %% 2000 = 0
  FROM (SELECT n, n * interval '5 minutes' AS age,
               CASE WHEN n <= %(count)s / 1000 THEN 'awaiting_goods'
                    WHEN n %% 20 = 1 THEN 'cancelled' ELSE 'completed' END AS status
          FROM generate_series(1, %(count)s) AS n) AS made
"""

RETURNED_LINES = """
INSERT INTO returns_returnline (return_id, sku, quantity, unit_amount)
SELECT id, 'MUG', 1, 1250 FROM returns_return ORDER BY returns_return.id DESC LIMIT %(count)s
"""

PAYMENTS = """
INSERT INTO payments_payment (
  id, order_id, status, amount, refunded_amount, currency, payment_method, charge_id,
  charge_key, refund_key, decline_code)
SELECT uuidv7(n * interval '-5 minutes'), gen_random_uuid(),
       CASE WHEN n %% 1000 = 0 THEN 'pending' ELSE 'captured' END, 2500, 0, 'eur', 'pm_card_visa',
       CASE WHEN n %% 1000 <> 0 THEN 'ch_' || n END, 'c' || n, 'r' || n, ''
  FROM generate_series(1, %(count)s) AS n
"""

KEYS = """
INSERT INTO orders_idempotencykey (user_id, key, fingerprint, order_id, body, created_at)
SELECT user_id, id::text, '', id, '', created_at
  FROM orders_order ORDER BY orders_order.id LIMIT %(count)s
"""

STOCK = """
INSERT INTO inventory_stockitem (sku, on_hand)
SELECT 'SKU-' || n, 1 FROM generate_series(1, %(count)s) AS n
"""

ADJUSTMENTS = """
INSERT INTO inventory_stockadjustment (sku, quantity, reason, by)
SELECT 'SKU-' || (1 + n %% 2), 1, 'delivery', 'tests' FROM generate_series(1, %(count)s) AS n
"""


def fill(alias, table, statement, **params):
    """Fill a table with one statement, and analyse it."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(statement, params)
        cursor.execute(f"ANALYZE {table}")


@pytest.fixture
def many(ada, bob):
    """Many orders of two customers."""
    users = {name: harness.user(name).id for name in ("ada", "bob")}
    fill("default", "orders_order", ORDERS, count=MANY, **users)
    fill("default", "orders_orderline", LINES, count=MANY // 4)


def nodes(plan):
    """Yield a plan's nodes, from the top."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def assert_by_index(alias, sql):
    """Assert that a statement scans no table in full, and sorts only a few rows."""
    with connections[alias].cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
        (found,) = cursor.fetchone()
    (explained,) = json.loads(found) if isinstance(found, str) else found
    for node in nodes(explained["Plan"]):
        assert node["Node Type"] != "Seq Scan" or node["Relation Name"] not in TABLES, (
            sql,
            explained,
        )
        if node["Node Type"] == "Sort":
            assert max(below["Plan Rows"] for below in node["Plans"]) <= FEW, (sql, explained)


TABLES = {
    "orders_order",
    "orders_orderline",
    "orders_idempotencykey",
    "returns_return",
    "returns_returnline",
    "payments_payment",
    "inventory_stockitem",
    "inventory_stockadjustment",
}


def assert_page_by_index(client, url, *, alias="default"):
    """Assert that for every statement of a page; return the page."""
    with CaptureQueriesContext(connections[alias]) as queries:
        answer = client.get(url)
    assert answer.status_code == 200, answer.content
    of_the_list = [
        query["sql"] for query in queries if any(table in query["sql"] for table in TABLES)
    ]
    assert of_the_list
    for sql in of_the_list:
        assert_by_index(alias, sql)
    return answer.json()


def assert_walk_by_index(client, url, *, alias="default"):
    """Assert that for a page, the next one and the previous one."""
    page = assert_page_by_index(client, url, alias=alias)
    if page["next"]:
        second = assert_page_by_index(client, page["next"], alias=alias)
        assert_page_by_index(client, second["previous"], alias=alias)


def test_every_list_of_orders_is_read_by_index(many, ada, staff):
    month = timezone.now() - timedelta(days=30)
    statuses = ("", "status=paid", "status=fulfilled", "status=cancelled")
    attention = ("", "needs_attention=true")
    after = ("", f"created_after={quote((month - timedelta(days=7)).isoformat())}")
    before = ("", f"created_before={quote(month.isoformat())}")
    orderings = ("", "ordering=created_at")
    for client, filters in product(
        (ada, staff), product(statuses, attention, after, before, orderings)
    ):
        assert_walk_by_index(client, f"{harness.ORDERS}?limit=2&{'&'.join(filter(None, filters))}")


def test_every_list_of_returns_is_read_by_index(ada, bob, staff):
    users = {name: harness.user(name).id for name in ("ada", "bob")}
    fill("default", "returns_returnedorder", RETURNED, count=MANY, ada=users["ada"])
    fill("default", "returns_return", RETURNS, count=MANY, **users)
    fill("default", "returns_returnline", RETURNED_LINES, count=MANY // 4)
    month = timezone.now() - timedelta(days=30)
    span = (
        f"created_after={quote((month - timedelta(days=7)).isoformat())}"
        f"&created_before={quote(month.isoformat())}"
    )
    statuses = ("", *(f"status={one}" for one in ("awaiting_goods", "completed", "cancelled")))
    kinds, attention = ("", "kind=goodwill"), ("", "needs_attention=true")
    orderings = ("", "ordering=created_at")
    for client, filters in product(
        (ada, staff), product(statuses, kinds, attention, ("", span), orderings)
    ):
        query = "&".join(filter(None, filters))
        assert_walk_by_index(client, f"/api/v1/returns/?limit=2&{query}")
    assert_walk_by_index(
        staff, "/api/v1/returns/?limit=2&order_id=01890000-0000-7000-8000-000000000001"
    )


def test_the_oldest_keys_are_found_by_index(many):
    fill("default", "orders_idempotencykey", KEYS, count=MANY)
    with CaptureQueriesContext(connection) as queries:
        assert purge_records(IdempotencyKey, timezone.now() - timedelta(days=340)) > 1_000
    for query in queries:
        assert_by_index("default", query["sql"])


def test_every_list_of_payments_is_read_by_index(staff):
    fill("payments", "payments_payment", PAYMENTS, count=MANY // 4)
    for status, ordering in product(
        ("", "status=pending", "status=captured", "status=void"), ("", "ordering=created_at")
    ):
        assert_walk_by_index(
            staff, f"/api/v1/payments/?limit=2&{status}&{ordering}", alias="payments"
        )
    assert_walk_by_index(
        staff, "/api/v1/payments/?order_id=01890000-0000-7000-8000-000000000000", alias="payments"
    )


def test_every_list_of_stock_is_read_by_index(staff):
    fill("inventory", "inventory_stockitem", STOCK, count=MANY // 4)
    fill("inventory", "inventory_stockadjustment", ADJUSTMENTS, count=MANY // 4)
    assert_walk_by_index(staff, "/api/v1/stock/?limit=2", alias="inventory")
    assert_walk_by_index(staff, "/api/v1/stock/SKU-1/adjustments/?limit=2", alias="inventory")
