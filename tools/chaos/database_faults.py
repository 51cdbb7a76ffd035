"""The faults of a bad release in a database: a missing column or grant, or a sequence behind.

Each fault is of a table that only workers use. The role of the service breaks and mends it.
"""

import time
from dataclasses import dataclass

import psycopg

from tools.chaos.fault_schedule import COLUMN, GRANT, SEQUENCE
from tools.local.processes import poll

__all__ = ["DATABASE_FAULTS", "DatabaseFault", "run_until_done"]

# Seconds. A server that was killed is back before that.
PATIENCE_SECONDS = 90.0
PAUSE_SECONDS = 0.3
LOCK_TIMEOUT = "SET lock_timeout = '3s'"


@dataclass(frozen=True, kw_only=True)
class DatabaseFault:
    """A fault in the database of a service: the statements that break and that mend it.

    The log of a worker that meets it matches the pattern `shows`.
    """

    title: str
    service: str
    breaks: str
    mends: str
    shows: str


def missing_column(table: str, column: str) -> DatabaseFault:
    """Return a fault: a table lacks a column."""
    return DatabaseFault(
        title=f"{table}.{column} is missing",
        service=_service(table),
        breaks=f"ALTER TABLE {table} RENAME COLUMN {column} TO {column}_gone",
        mends=f"ALTER TABLE {table} RENAME COLUMN {column}_gone TO {column}",
        shows=rf"column \S*{column}\S* (of relation \S+ )?does not exist",
    )


def missing_grant(right: str, table: str) -> DatabaseFault:
    """Return a fault: the service may not write a table."""
    return DatabaseFault(
        title=f"{right} on {table} is revoked",
        service=_service(table),
        breaks=f"REVOKE {right} ON {table} FROM CURRENT_USER",
        mends=f"GRANT {right} ON {table} TO CURRENT_USER",
        shows=f"permission denied for table {table}",
    )


def sequence_behind(table: str) -> DatabaseFault:
    """Return a fault: the ids of a table begin anew, as after a restore."""
    sequence = f"pg_get_serial_sequence('{table}', 'id')"
    return DatabaseFault(
        title=f"the sequence of {table} is behind",
        service=_service(table),
        breaks=f"SELECT setval({sequence}, 1, false)",
        # Ids of transactions that have not committed are above the highest id that can be seen.
        mends=f"SELECT setval({sequence}, (SELECT COALESCE(max(id), 0) + 10000 FROM {table}))",
        shows=f"{table}_pkey",
    )


def _service(table: str) -> str:
    return table.partition("_")[0]


# The tables of the domain, and those of the engine.
DATABASE_FAULTS = {
    COLUMN: (
        missing_column("inventory_stockitem", "on_hand"),
        missing_column("inventory_reservation", "quantity"),
        missing_column("payments_payment", "captured_amount"),
        missing_column("payments_inbox", "losses_excused"),
        missing_column("inventory_outbox", "step_attempt"),
        missing_column("inventory_hold", "saga"),
    ),
    GRANT: (
        missing_grant("INSERT", "inventory_reservation"),
        missing_grant("UPDATE", "inventory_stockitem"),
        missing_grant("INSERT", "payments_payment"),
        missing_grant("INSERT", "payments_stepfault"),
        missing_grant("INSERT", "payments_outbox"),
        missing_grant("UPDATE", "inventory_inbox"),
    ),
    SEQUENCE: (
        sequence_behind("inventory_reservation"),
        sequence_behind("inventory_inbox"),
        sequence_behind("payments_inbox"),
    ),
}


def run_until_done(url: str, statement: str) -> None:
    """Run a statement. Repeat it while the server is down, or while the table is locked.

    Raises psycopg.Error after PATIENCE_SECONDS.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    for _ in poll(2 * PATIENCE_SECONDS, pause=PAUSE_SECONDS):
        try:
            with psycopg.connect(url, connect_timeout=3) as session:
                session.execute(LOCK_TIMEOUT)
                session.execute(statement.encode())
        except psycopg.errors.UndefinedColumn:
            return  # the answer to the same statement was lost
        except psycopg.Error:
            if time.monotonic() > deadline:
                raise
        else:
            return
