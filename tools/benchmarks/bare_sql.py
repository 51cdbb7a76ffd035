"""Baseline: write the same rows to the three databases with bare SQL.

`python -m tools.benchmarks.bare_sql --orders N` inserts the orders, waits for `go` on stdin, then
charges, reserves, fulfils and ships each order. Eight processes run one transaction for each step.
There is no outbox, inbox or timeline: a crash between two steps leaves an order incomplete forever.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Sequence
from uuid import UUID

import psycopg

from tools.benchmarks.order_data import PAYMENT_METHOD, SKUS

__all__ = ["main"]

CONNECTIONS = 8
AMOUNT = 1_000

PLACE = """
INSERT INTO orders_order (id, user_id, status, amount, currency, payment_method, plan, redrives,
                          needs_attention, failure_code, failure_detail)
SELECT uuidv7(), u.id, 'pending', %(amount)s, 'eur', %(method)s, '{}', 0, false, '', ''
  FROM generate_series(1, %(orders)s), auth_user u WHERE u.username = 'admin'
RETURNING id
"""
LINE = "INSERT INTO orders_orderline (order_id, sku, quantity, unit_amount) VALUES (%s, %s, 1, %s)"
PAY = """
INSERT INTO payments_payment (id, order_id, status, amount, currency, payment_method, charge_id,
                              charge_key, refund_key)
VALUES (uuidv7(), %(order)s, 'captured', %(amount)s, 'eur', %(method)s, %(charge)s, %(key)s,
        %(refund)s)
"""
INTENT = """
INSERT INTO payments_simulatedintent (key, state, order_id, amount, currency, payment_method,
                                      charge_id)
VALUES (%(key)s, 'captured', %(order)s, %(amount)s, 'eur', %(method)s, %(charge)s)
"""
CAPTURE = """
INSERT INTO payments_simulatedcharge (kind, key, order_id, charge_id, amount, currency)
VALUES ('capture', %(key)s, %(order)s, %(charge)s, %(amount)s, 'eur')
"""
TAKE = """
UPDATE inventory_stockitem SET on_hand = on_hand - 1, reserved = reserved + 1
 WHERE sku = %s AND on_hand >= 1
"""
HOLD = "INSERT INTO inventory_reservation (order_id, sku, quantity) VALUES (%s, %s, 1)"
FULFIL = """
UPDATE orders_order
   SET status = 'fulfilled', ended_at = clock_timestamp(), updated_at = clock_timestamp()
 WHERE id = %s AND status = 'pending'
"""
SHIP = """
UPDATE inventory_reservation SET state = 'shipped', updated_at = clock_timestamp()
 WHERE order_id = %s
"""
COUNT = (
    "UPDATE inventory_stockitem SET reserved = reserved - 1, shipped = shipped + 1 WHERE sku = %s"
)


class Worker:
    """The connections of one process, and the four steps."""

    def __init__(self) -> None:
        """Connect to the three databases."""
        self.orders = _connect("DATABASE_URL")
        self.payments = _connect("PAYMENTS_DATABASE_URL")
        self.inventory = _connect("INVENTORY_DATABASE_URL")

    def run(self, order: UUID, sku: str) -> None:
        """Run all four steps of an order."""
        self.charge(order)
        self.reserve(order, sku)
        with self.orders.transaction():
            self.orders.execute(FULFIL, [order])

        self.ship(order, sku)

    def charge(self, order: UUID) -> None:
        """Write the payment and the rows of the simulated gateway."""
        key = f"charge-{order}"
        row = {
            "order": order,
            "amount": AMOUNT,
            "method": PAYMENT_METHOD,
            "charge": f"ch_{order.hex}",
            "key": key,
        }

        with self.payments.transaction():
            self.payments.execute(INTENT, row)
            self.payments.execute(CAPTURE, row)
            self.payments.execute(PAY, row | {"refund": f"refund-{order}"})

    def reserve(self, order: UUID, sku: str) -> None:
        """Reserve a piece."""
        with self.inventory.transaction():
            self.inventory.execute(TAKE, [sku])
            self.inventory.execute(HOLD, [order, sku])

    def ship(self, order: UUID, sku: str) -> None:
        """Ship the reserved piece."""
        with self.inventory.transaction():
            self.inventory.execute(SHIP, [order])
            self.inventory.execute(COUNT, [sku])


def main() -> None:
    """Insert the orders, wait for a line on stdin, run the orders, and print the duration."""
    orders = _place(_arguments().orders)
    shares = [orders[start::CONNECTIONS] for start in range(CONNECTIONS)]
    ready = multiprocessing.Barrier(CONNECTIONS + 1)
    workers = [multiprocessing.Process(target=_work, args=(share, ready)) for share in shares]
    for worker in workers:
        worker.start()

    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    ready.wait()
    started = time.monotonic()
    for worker in workers:
        worker.join()

    seconds = time.monotonic() - started
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    failed = sum(worker.exitcode != 0 for worker in workers)
    print(
        json.dumps({"seconds": seconds, "cpu": spent.ru_utime + spent.ru_stime, "failed": failed}),
        flush=True,
    )


def _place(count: int) -> list[tuple[UUID, str]]:
    with _connect("DATABASE_URL") as session, session.transaction(), session.cursor() as cursor:
        rows = cursor.execute(
            PLACE, {"orders": count, "amount": AMOUNT, "method": PAYMENT_METHOD}
        ).fetchall()
        orders = [(order, SKUS[number % len(SKUS)]) for number, (order,) in enumerate(rows)]
        cursor.executemany(LINE, [(order, sku, AMOUNT) for order, sku in orders])

    return orders


def _work(share: Sequence[tuple[UUID, str]], ready: "multiprocessing.synchronize.Barrier") -> None:
    worker = Worker()
    ready.wait()
    for order, sku in share:
        worker.run(order, sku)


def _connect(variable: str) -> psycopg.Connection:
    return psycopg.connect(os.environ[variable], autocommit=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.benchmarks.bare_sql")
    parser.add_argument("--orders", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
