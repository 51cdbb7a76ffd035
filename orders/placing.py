"""The two statements that place an order: the first looks up, the second inserts all rows.

There are only two, because round trips cost more than inserting the few small rows: the order, its
lines, the answer, the event and the first timeline entry.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from django.conf import settings

from api.resources.records import KeyInFlight, StoredAnswer, try_lock
from orders.catalogue import Price
from orders.events import LineOrdered
from orders.models import Order
from sagas import sql
from sagas.lifecycle import Plan
from sagas.sql import to_json

__all__ = ["Answer", "Lookup", "Origin", "insert_cte", "lookup"]

LOOKUP = f"""
SELECT {try_lock("orders")},
       statement_timestamp(), known.order_id, known.body, known.fingerprint,
       (SELECT jsonb_object_agg(sku, jsonb_build_array(unit_amount, currency))::text
          FROM orders_product WHERE sku = ANY(%(skus)s::text[]) AND active)
  FROM (VALUES (1)) AS once
  LEFT JOIN orders_idempotencykey AS known ON known.user_id = %(user)s AND known.key = %(key)s
"""  # noqa: S608  only the lock is inserted, a constant

INSERT = """
placed AS (
  INSERT INTO orders_order (
    id, user_id, status, amount, currency, payment_method, plan, created_at, updated_at,
    rescue_at, redrives, needs_attention, failure_code, failure_detail)
  VALUES (
    %(id)s, %(user)s, 'pending', %(amount)s, %(currency)s, %(payment_method)s, %(order_plan)s,
    %(at)s, %(at)s, %(at)s + make_interval(secs => %(stall)s), 0, false, '', '')
), with_lines AS (
  INSERT INTO orders_orderline (order_id, sku, quantity, unit_amount)
  SELECT %(id)s, sku, quantity, unit_amount
    FROM jsonb_to_recordset(%(lines)s::jsonb) AS line(sku text, quantity int, unit_amount bigint)
), answered AS (
  INSERT INTO orders_idempotencykey (user_id, key, fingerprint, order_id, body, created_at)
  VALUES (%(user)s, %(key)s, %(fingerprint)s, %(id)s, %(body)s, %(at)s)
)
"""

_prices = msgspec.json.Decoder(dict[str, Price])


class Lookup(NamedTuple):
    """The database's time, the earlier answer to the key, and the prices of active products."""

    at: datetime
    stored: StoredAnswer | None
    prices: Mapping[str, Price]


class Answer(NamedTuple):
    """The key and the fingerprint of a request, and the answer to store for them."""

    key: str
    fingerprint: str
    body: str


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The customer of an order and the key of the request, in the headers of the saga's messages.

    No step reads it. If the database of orders is lost, `manage.py recover` finds it in the other
    two, and neither the customer nor a repeated request loses the order. A value is a text, because
    headers are texts.
    """

    customer: str
    idempotency_key: str
    fingerprint: str

    def headers(self) -> dict[str, str]:
        """Return the headers."""
        return msgspec.structs.asdict(self)


def lookup(user_id: int, key: str, skus: Sequence[str]) -> Lookup:
    """Lock a key until the transaction ends; look up its stored answer and the prices of SKUs.

    Raises `KeyInFlight` if another request holds the lock.
    """
    params = {"key": key, "user": user_id, "skus": list(skus)}
    [(locked, at, order_id, body, fingerprint, prices)] = sql.fetch("default", LOOKUP, params)
    if not locked:
        raise KeyInFlight

    stored = StoredAnswer(order_id, body, fingerprint) if order_id else None
    return Lookup(at, stored, _prices.decode(prices) if prices else {})


def insert_cte(
    order: Order, plan: Plan, lines: Sequence[LineOrdered], answer: Answer
) -> sql.CommonTableExpressions:
    """Return the expressions that insert an order, its lines and the answer to its key."""
    params = {
        "id": order.id,
        "user": order.user_id,
        "amount": order.amount,
        "currency": order.currency,
        "payment_method": order.payment_method,
        "order_plan": to_json(plan),
        "at": order.created_at,
        "stall": settings.SAGA_STALL_SECONDS,
        "lines": to_json(lines),
        **answer._asdict(),
    }
    return sql.CommonTableExpressions(INSERT, params)
