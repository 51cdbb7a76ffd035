"""Orders of every kind, the loss of a database, and the recovery."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from django.core.management import call_command
from django.db import connections

from sagas.storage.registry import get_service
from tests.integration.audit.conftest import Orders, place_and_end_orders
from tests.integration.audit.harness import record_timeline

__all__ = ["TABLES", "backed_up", "lose", "orders_of_every_kind", "recover", "restore"]

# The simulated gateway's ledger is in the payments database, but it belongs to the gateway.
TABLES = {
    "payments": (
        "payments_payment",
        "payments_partialrefund",
        "payments_inbox",
        "payments_outbox",
        "payments_hold",
        "payments_watermark",
    ),
    "inventory": (
        "inventory_reservation",
        "inventory_stockreturn",
        "inventory_stockadjustment",
        "inventory_stockitem",
        "inventory_inbox",
        "inventory_outbox",
        "inventory_hold",
        "inventory_watermark",
    ),
    "orders": (
        "orders_idempotencykey",
        "orders_orderline",
        "orders_order",
        "orders_timelineevent",
        "orders_inbox",
        "orders_outbox",
        "orders_hold",
        "orders_watermark",
    ),
}


def orders_of_every_kind() -> Orders:
    """Place orders and end them in every possible way."""
    kinds = place_and_end_orders()
    record_timeline()
    return kinds


def lose(database: str) -> None:
    """Delete all rows of a database, as after a loss and a migration."""
    _run(database, f"TRUNCATE {', '.join(TABLES[database])} CASCADE")


@contextmanager
def backed_up(database: str) -> Iterator[None]:
    """Keep a copy of the present rows of a database while the context lasts."""
    for table in TABLES[database]:
        _run(database, f"CREATE TABLE backup_{table} AS TABLE {table}")
    try:
        yield
    finally:
        for table in TABLES[database]:
            _run(database, f"DROP TABLE backup_{table}")


def restore(database: str) -> None:
    """Replace all rows of a database by the copy. The sequences are as after a restore too."""
    lose(database)
    for table in reversed(TABLES[database]):
        _run(database, f"INSERT INTO {table} SELECT * FROM backup_{table}")


def recover(database: str, **options: object) -> None:
    """Run the recovery until nothing is left; it ends with an audit."""
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        call_command("recover", database, apply=True, ignore_sessions=True, log=log, **options)


def _run(database: str, statement: str) -> None:
    with connections[get_service(database).alias].cursor() as cursor:
        cursor.execute(statement)
