"""The two statements of placing an order: one looks up what decides about it, one writes all its
rows.

Two, because a round trip costs more than what it carries: most of what an order takes, with its
line, its answer, its event and the first line of its timeline, is spent on the way to the database
and back.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from django.conf import settings

from orders.catalogue import Price
from orders.events import LineOrdered
from orders.idempotency import KeyInFlight, Known
from orders.models import Order
from sagas.definition.messages import to_json
from sagas.definition.plan import Plan
from sagas.storage import sql

__all__ = ["Answer", "Found", "look", "rows"]

# The two halves of the lock: a namespace of our own, and the user with the key. Whose statement
# began before the lock was its own does not see what the holder before wrote: the unique constraint
# does (`idempotency.is_taken`).
LOOK = """
SELECT pg_try_advisory_xact_lock(hashtextextended('orders.idempotency', 0) # hashtextextended(%(key)s, %(user)s)),
       statement_timestamp(), known.order_id, known.body, known.fingerprint,
       (SELECT jsonb_object_agg(sku, jsonb_build_array(unit_amount, currency))::text
          FROM orders_product WHERE sku = ANY(%(skus)s::text[]) AND active)
  FROM (VALUES (1)) AS once
  LEFT JOIN orders_idempotencykey AS known ON known.user_id = %(user)s AND known.key = %(key)s
"""

ROWS = """
placed AS (
  INSERT INTO orders_order (id, user_id, status, amount, currency, payment_method, plan, created_at, updated_at,
                            rescue_at, redrives, needs_attention, failure_code, failure_detail)
  VALUES (%(id)s, %(user)s, 'pending', %(amount)s, %(currency)s, %(payment_method)s, %(route)s, %(at)s, %(at)s,
          %(at)s + make_interval(secs => %(stall)s), 0, false, '', '')
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


class Found(NamedTuple):
    """The database's time, what was answered to the key before, and what is for sale of what is
    wanted, by SKU.
    """

    at: datetime
    known: Known | None
    prices: Mapping[str, Price]


class Answer(NamedTuple):
    """The key of a request, what tells the request from another, and what is answered to it."""

    key: str
    fingerprint: str
    body: str


def look(user_id: int, key: str, skus: Sequence[str]) -> Found:
    """Hold a key until the transaction ends, and look up what is known of it and of some SKUs.

    Raises `KeyInFlight` if another request holds it.
    """
    ((held, at, order_id, body, used_for, prices),) = sql.fetch(
        "default", LOOK, {"key": key, "user": user_id, "skus": list(skus)}
    )
    if not held:
        raise KeyInFlight
    known = Known(order_id, body, used_for) if order_id else None
    return Found(at, known, _prices.decode(prices) if prices else {})


def rows(
    order: Order, plan: Plan, lines: Sequence[LineOrdered], answer: Answer
) -> sql.CommonTableExpressions:
    """Return what writes an order with its lines, and what is answered: an answer is kept with
    what it tells of.
    """
    params = {
        "id": order.id,
        "user": order.user_id,
        "amount": order.amount,
        "currency": order.currency,
        "payment_method": order.payment_method,
        "route": to_json(plan),
        "at": order.created_at,
        "stall": settings.SAGA_STALL_SECONDS,
        "lines": to_json(lines),
        **answer._asdict(),
    }
    return sql.CommonTableExpressions(ROWS, params)
