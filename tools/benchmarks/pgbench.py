"""The physical reference: the statements of the bare SQL, sent by a client in C (`pgbench`).

One `pgbench` for each database runs the steps of its service, one transaction for each step, with
prepared statements. The three run at once. No step waits for the step before it.
"""

import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from tools.benchmarks.database import BenchmarkFailed
from tools.benchmarks.order_data import PAYMENT_METHOD, SKUS
from tools.local.postgres import BINARIES, package_folder
from tools.local.servers import DATABASE_VARIABLES
from tools.local.stack import Stack

__all__ = ["CLIENTS", "run_pgbench"]

# Connections to each database, nine in all: the bare SQL has eight processes.
CLIENTS = 3
AMOUNT = 1_000
ID = "('00000000-0000-7000-8000-' || lpad(to_hex({number}), 12, '0'))::uuid"
NUMBER = """
\\set n :n + 1
\\set number :base + :client_id * :each + :n
\\set sku :number % {skus}
""".replace("{skus}", str(len(SKUS)))
ORDER_ID = ID.format(number=":number::bigint")
SKU = "'BENCH-' || lpad(:sku::text, 3, '0')"

PLACE = f"""
INSERT INTO orders_order (id, user_id, status, amount, currency, payment_method, plan, redrives,
                          needs_attention, failure_code, failure_detail)
SELECT {ID.format(number="number::bigint")}, u.id, 'pending', {AMOUNT}, 'eur',
       '{PAYMENT_METHOD}', '{{}}', 0, false, '', ''
  FROM generate_series(%(base)s + 1, %(base)s + %(orders)s) number, auth_user u
 WHERE u.username = 'admin'
"""
FULFILLED = f"""
SELECT count(*) FROM orders_order
 WHERE id BETWEEN {ID.format(number="(%(base)s + 1)::bigint")}
              AND {ID.format(number="(%(base)s + %(orders)s)::bigint")} AND status = 'fulfilled'
"""
SCRIPTS = {
    "payments": f"""{NUMBER}
BEGIN;
INSERT INTO payments_simulatedintent (key, state, order_id, amount, currency, payment_method,
                                      charge_id)
VALUES ('charge-' || {ORDER_ID}, 'captured', {ORDER_ID}, {AMOUNT}, 'eur', '{PAYMENT_METHOD}',
        'ch_' || :number::bigint);
INSERT INTO payments_simulatedcharge (kind, key, order_id, charge_id, amount, currency)
VALUES ('capture', 'charge-' || {ORDER_ID}, {ORDER_ID}, 'ch_' || :number::bigint, {AMOUNT}, 'eur');
INSERT INTO payments_payment (id, order_id, status, amount, currency, payment_method, charge_id,
                              charge_key, refund_key)
VALUES (uuidv7(), {ORDER_ID}, 'captured', {AMOUNT}, 'eur', '{PAYMENT_METHOD}',
        'ch_' || :number::bigint, 'charge-' || {ORDER_ID}, 'refund-' || {ORDER_ID});
COMMIT;
""",
    "orders": f"""{NUMBER}
UPDATE orders_order
   SET status = 'fulfilled', ended_at = clock_timestamp(), updated_at = clock_timestamp()
 WHERE id = {ORDER_ID} AND status = 'pending';
""",
    "inventory": f"""{NUMBER}
BEGIN;
UPDATE inventory_stockitem SET on_hand = on_hand - 1, reserved = reserved + 1
 WHERE sku = {SKU} AND on_hand >= 1;
INSERT INTO inventory_reservation (order_id, sku, quantity) VALUES ({ORDER_ID}, {SKU}, 1);
COMMIT;
BEGIN;
UPDATE inventory_reservation SET state = 'shipped', updated_at = clock_timestamp()
 WHERE order_id = {ORDER_ID};
UPDATE inventory_stockitem SET reserved = reserved - 1, shipped = shipped + 1 WHERE sku = {SKU};
COMMIT;
""",
}


def run_pgbench(stack: Stack, orders: int) -> float:
    """Run the steps of at least `orders` orders; return orders per second.

    Raises BenchmarkFailed if `pgbench` fails, or if an order is not fulfilled.
    """
    each = -(-orders // CLIENTS)
    numbers = {"base": int(time.time()) * 100_000, "orders": each * CLIENTS}
    urls = {service: stack.env[variable] for variable, service in DATABASE_VARIABLES.items()}
    _query(urls["orders"], PLACE, numbers)

    with tempfile.TemporaryDirectory(prefix="pgbench-") as folder:
        commands = [
            _command(urls[service], Path(folder), service, script, each, numbers["base"])
            for service, script in SCRIPTS.items()
        ]
        started = time.monotonic()
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for command in commands
        ]
        outputs = [process.communicate()[0] for process in running]
        seconds = time.monotonic() - started

    for process, output in zip(running, outputs, strict=True):
        if process.returncode:
            raise BenchmarkFailed(f"pgbench failed: {output.strip()}")
    if (done := _query(urls["orders"], FULFILLED, numbers)) != numbers["orders"]:
        raise BenchmarkFailed(f"pgbench fulfilled {done} of {numbers['orders']} orders.")

    return numbers["orders"] / seconds


def _command(  # one part of the command line each
    url: str, folder: Path, service: str, script: str, each: int, base: int
) -> list[str]:
    file = folder / f"{service}.sql"
    file.write_text(script.lstrip())
    defined = [f"--define={name}={value}" for name, value in _variables(each, base).items()]
    size = (f"--client={CLIENTS}", "--jobs=1", f"--transactions={each}")
    return [
        str(package_folder() / BINARIES / "pgbench"),
        *size,
        *("--protocol=prepared", "--no-vacuum", f"--file={file}"),
        *defined,
        url,
    ]


def _variables(each: int, base: int) -> dict[str, int]:
    return {"n": 0, "base": base, "each": each}


def _query(url: str, statement: str, numbers: dict[str, int]) -> int:
    with psycopg.connect(url, autocommit=True) as session:
        cursor = session.execute(statement.encode(), numbers)
        return int(cursor.fetchall()[0][0]) if cursor.description else cursor.rowcount
