"""The statements of the scheduled audit and of the reconciliation find their rows by an index."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from audit import changes, ledger
from payments.reconciliation import missing, windows
from sagas.ids import uuid7

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

MINUTE = timedelta(minutes=1)

# 30,000 rows, one each second.
FILL = {
    "default": """
        INSERT INTO orders_order (id, user_id, amount, currency, payment_method, plan, redrives,
                                  needs_attention, ended_at, status)
        SELECT gen_random_uuid(), %(user)s, 1, 'eur', 'm', '{}', 0, false,
               now() - make_interval(secs => n), 'fulfilled' FROM generate_series(1, 30000) n
    """,
    "payments": """
        INSERT INTO payments_payment (id, order_id, status, amount, currency, payment_method,
                                      charge_id, charge_key, refund_key, gateway, created_at,
                                      updated_at)
        SELECT gen_random_uuid(), gen_random_uuid(),
               CASE WHEN n %% 2 = 0 THEN 'captured' ELSE 'refunded' END, 1, 'eur', 'm', 'ch' || n,
               'c' || n, 'r' || n, 'simulated', now() - make_interval(secs => n),
               now() - make_interval(secs => n)
          FROM generate_series(1, 30000) n
    """,
}
ANALYZE = {"default": "ANALYZE orders_order", "payments": "ANALYZE payments_payment"}


@pytest.fixture
def many_rows() -> None:
    ada = User.objects.create_user("ada")
    for alias, statement in FILL.items():
        with connections[alias].cursor() as cursor:
            cursor.execute(statement, {"user": ada.pk} if "%(user)s" in statement else {"n": 0})
            cursor.execute(ANALYZE[alias])


def nodes(plan: dict[str, Any]) -> Iterator[str]:
    yield plan["Node Type"]
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def plan_of(alias: str, statement: str, params: Any) -> set[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", params)
        [(found,)] = cursor.fetchall()
    plan = json.loads(found) if isinstance(found, str) else found
    return set(nodes(plan[0]["Plan"]))


def test_each_statement_uses_an_index(many_rows: None) -> None:
    now = timezone.now()
    window = {"since": now - 20 * MINUTE, "until": now - 10 * MINUTE}
    page = {
        "after_at": now - 20 * MINUTE,
        "after": changes.FIRST_ID,
        "until": now - 10 * MINUTE,
        "limit": changes.ORDERS_PAGE,
    }
    some = {"orders": [uuid7() for _ in range(500)], **window}
    statements: list[tuple[str, str, dict[str, Any]]] = [
        ("default", changes.ENDED, page),
        ("default", changes.ENDED_IN_WINDOW, some),
        ("payments", changes.CHANGED, {**page, "gateway": "simulated"}),
        ("payments", ledger.GATEWAYS, {}),
        ("payments", windows.NAMES, {"since": now - MINUTE}),
    ]
    for alias, statement, params in statements:
        found = plan_of(alias, statement, params)
        assert "Seq Scan" not in found, (statement, found)
        assert any("Index" in node for node in found), (statement, found)


def test_the_payments_of_a_part_are_found_by_an_index(many_rows: None) -> None:
    until = timezone.now()
    since = until - 10 * MINUTE
    for payments in (
        *missing.captured_in("simulated", since, until),
        missing.refunded_in("simulated", since, until),
    ):
        plan = json.loads(payments.explain(format="json"))
        assert "Seq Scan" not in set(nodes(plan[0]["Plan"])), str(payments.query)
