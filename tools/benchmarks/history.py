"""Write a long history of finished orders with SQL."""

from collections.abc import Callable

import psycopg

from services import ALIASES, VARIABLES
from tools.benchmarks.order_data import PAYMENT_METHOD, SKUS
from tools.local.stack import Stack

__all__ = ["write_history"]

AT_ONCE = 50_000

# n counts the orders backwards in time. The id is a UUIDv7 computed from n, so that the three
# databases agree.
ID = (
    "('0' || to_hex(1700000000000 - n * 1000::bigint) || '70008' || lpad(to_hex(n), 15, '0'))::uuid"
)
AT = "now() - make_interval(secs => n)"
SERIES = "FROM generate_series(%(first)s::int, %(last)s::int) n"
OUTBOX = f"""
INSERT INTO {{service}}_outbox (id, saga, saga_started_at, seq, type, step, step_attempt, data,
                                context, plan, target, headers, created_at, due_at, published_at,
                                attempts, last_error)
SELECT uuidv7(), {ID}, {AT}, {{seq}}, '{{type}}', '{{step}}', 1, '{{{{}}}}',
       '{{{{"amount": 1000, "currency": "eur", "payment_method": "pm_card_visa"}}}}', '{{{{}}}}',
       {{target}}, '{{{{}}}}', {AT}, {AT}, {AT}, 1, '' {SERIES}
"""
INBOX = f"""
INSERT INTO {{service}}_inbox (saga, saga_started_at, step, state, attempts, error, due_at,
                               created_at, updated_at)
SELECT {ID}, {AT}, '{{step}}', 'done', 1, '', {AT}, {AT}, {AT} {SERIES}
"""
TIMELINE = f"""
INSERT INTO orders_timelineevent (id, saga, seq, type, service, step, attempt, at, detail)
SELECT uuidv7(), {ID}, {{seq}}, '{{type}}', '{{service}}', '{{step}}', 1, {AT}, '{{{{}}}}' {SERIES}
"""
ORDER = f"""
INSERT INTO orders_order (id, user_id, status, amount, currency, payment_method, plan, redrives,
                          needs_attention, failure_code, failure_detail, created_at, updated_at,
                          ended_at)
SELECT {ID}, u.id, 'fulfilled', 1000, 'eur', %(method)s, '{{}}', 0, false, '', '', {AT}, {AT},
       {AT}
  FROM generate_series(%(first)s::int, %(last)s::int) n, auth_user u WHERE u.username = 'admin'
"""
LINE = f"""
INSERT INTO orders_orderline (order_id, sku, quantity, unit_amount)
SELECT {ID}, (%(skus)s::text[])[1 + n %% cardinality(%(skus)s::text[])], 1, 1000 {SERIES}
"""
PAYMENT = f"""
INSERT INTO payments_payment (id, order_id, status, amount, currency, payment_method, charge_id,
                              charge_key, refund_key)
SELECT uuidv7(), {ID}, 'captured', 1000, 'eur', %(method)s, 'ch_' || n, 'charge-' || {ID},
       'refund-' || {ID} {SERIES}
"""
INTENT = f"""
INSERT INTO payments_simulatedintent (key, state, order_id, amount, currency, payment_method,
                                      charge_id)
SELECT 'charge-' || {ID}, 'captured', {ID}, 1000, 'eur', %(method)s, 'ch_' || n {SERIES}
"""
CAPTURE = f"""
INSERT INTO payments_simulatedcharge (kind, key, order_id, charge_id, amount, currency)
SELECT 'capture', 'charge-' || {ID}, {ID}, 'ch_' || n, 1000, 'eur' {SERIES}
"""
RESERVATION = f"""
INSERT INTO inventory_reservation (order_id, sku, quantity, state)
SELECT {ID}, (%(skus)s::text[])[1 + n %% cardinality(%(skus)s::text[])], 1, 'shipped' {SERIES}
"""
# The steps of a fulfilled order: service, step, event, and the step that receives the event.
STEPS = (
    ("orders", "", "order.created", "'payments.charge'"),
    ("payments", "payments.charge", "payment.processed", "'inventory.reserve'"),
    ("inventory", "inventory.reserve", "stock.reserved", "'orders.fulfil'"),
    ("orders", "orders.fulfil", "order.fulfilled", "'inventory.ship'"),
    ("inventory", "inventory.ship", "stock.shipped", "null"),
)
DOMAIN = {
    "orders": (ORDER, LINE),
    "payments": (PAYMENT, INTENT, CAPTURE),
    "inventory": (RESERVATION,),
}


def write_history(stack: Stack, orders: int, *, notify: Callable[[str], None]) -> None:
    """Write finished orders with all rows of their sagas to the databases of their services."""
    statements = {service: [*own, *_messages(service)] for service, own in DOMAIN.items()}
    for first in range(1, orders + 1, AT_ONCE):
        last = min(first + AT_ONCE - 1, orders)
        for service, own in statements.items():
            _write(stack.env[VARIABLES[ALIASES[service]]], own, first, last)

        notify(f"  {last:,} finished orders")


def _messages(service: str) -> list[str]:
    found = []
    for seq, (owner, step, kind, target) in enumerate(STEPS):
        names = {"service": owner, "step": step, "type": kind, "target": target, "seq": seq}
        if owner == service:
            found.append(OUTBOX.format(**names))
            found += [INBOX.format(**names)] if step else []

        if service == "orders":
            found.append(TIMELINE.format(**names))

    return found


def _write(url: str, statements: list[str], first: int, last: int) -> None:
    parameters = {"first": first, "last": last, "method": PAYMENT_METHOD, "skus": SKUS}
    with psycopg.connect(url) as session:
        session.execute("SET LOCAL statement_timeout = 0")
        for statement in statements:
            session.execute(statement.encode(), parameters)
