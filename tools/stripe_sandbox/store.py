"""The sandbox's database: one SQLite file, which keeps the ledger and all other state."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tools.stripe_sandbox.records import Record

__all__ = ["Store"]

R = TypeVar("R", bound=Record)

SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    created INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS record_kind ON record (kind, seq);
DROP INDEX IF EXISTS record_charge;
DROP INDEX IF EXISTS record_payment_intent;
CREATE INDEX IF NOT EXISTS charge_intent
    ON record (json_extract(body, '$.payment_intent'), seq) WHERE kind = 'charge';
CREATE INDEX IF NOT EXISTS refund_charge
    ON record (json_extract(body, '$.charge'), seq) WHERE kind = 'refund';
CREATE INDEX IF NOT EXISTS refund_intent
    ON record (json_extract(body, '$.payment_intent'), seq) WHERE kind = 'refund';
CREATE INDEX IF NOT EXISTS dispute_charge
    ON record (json_extract(body, '$.charge'), seq) WHERE kind = 'dispute';
CREATE TABLE IF NOT EXISTS tag (
    key TEXT NOT NULL, value TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (key, value, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS transaction_type
    ON record (json_extract(body, '$.type'), seq) WHERE kind = 'balance_transaction';
CREATE INDEX IF NOT EXISTS transaction_source
    ON record (json_extract(body, '$.source'), seq) WHERE kind = 'balance_transaction';
CREATE TABLE IF NOT EXISTS money_movement (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('capture', 'refund', 'dispute', 'dispute_return')),
    id TEXT NOT NULL,
    UNIQUE (id, kind)
);
CREATE TABLE IF NOT EXISTS answer (
    key TEXT PRIMARY KEY,
    endpoint TEXT NOT NULL,
    parameters TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    request TEXT NOT NULL,
    created INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS lost (subject TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS rule (id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS settlement (
    id TEXT PRIMARY KEY, outcome TEXT NOT NULL, due_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS settlement_due ON settlement (due_at);
CREATE TABLE IF NOT EXISTS delivery (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    due_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    forged INTEGER NOT NULL DEFAULT 0,
    shift INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'delivered', 'dropped', 'given_up')),
    answer TEXT
);
CREATE INDEX IF NOT EXISTS delivery_due ON delivery (due_at) WHERE state = 'due';
CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY CHECK (id = 1), ahead REAL NOT NULL);
INSERT OR IGNORE INTO clock VALUES (1, 0);
"""
# The ledger of an older file, which has no disputes.
UPGRADE = """
INSERT INTO money_movement (seq, kind, id) SELECT seq, kind, id FROM movement;
DROP TABLE movement;
"""


class Store:
    """The database. A lock lets one thread at a time in.

    SQLite has one writer, and a lock is fairer than SQLite's retries.
    """

    def __init__(
        self, path: Path, *, has_endpoint: bool = False, settle_seconds: float = 10.0
    ) -> None:
        """Open the store, and create it if it does not exist.

        `has_endpoint`: events are sent to a webhook endpoint. `settle_seconds`: the time until the
        bank settles a pending payment or refund.
        """
        self.has_endpoint = has_endpoint
        self.settle_seconds = settle_seconds
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=30
        )

        # In this mode a killed process loses nothing. Only a power cut could lose transactions.
        self._connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
        self._connection.executescript(SCHEMA)
        if self.execute("SELECT 1 FROM sqlite_master WHERE name = 'movement'"):
            with self.transaction():
                for statement in UPGRADE.strip().splitlines():
                    self.execute(statement)

        self._ahead = float(self._connection.execute("SELECT ahead FROM clock").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all writes of the context, or roll all of them back."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

            self._connection.execute("COMMIT")

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement; return its rows."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def now(self) -> float:
        """Return the sandbox's time, in seconds since 1970."""
        return time.time() + self._ahead

    @property
    def ahead(self) -> float:
        """The seconds by which the sandbox's clock is ahead."""
        return self._ahead

    def advance(self, seconds: float) -> None:
        """Set the clock forward permanently."""
        with self.transaction():
            self.execute("UPDATE clock SET ahead = ahead + ?", [seconds])
            self._ahead += seconds

    def add(self, record: Record) -> None:
        """Insert a new object."""
        body = msgspec.json.encode(record).decode()
        row = [record.id, record.kind, record.created, body]
        self.execute("INSERT INTO record (id, kind, created, body) VALUES (?, ?, ?, ?)", row)

    def save(self, record: Record) -> None:
        """Update an object."""
        self.execute(
            "UPDATE record SET body = ? WHERE id = ?",
            [msgspec.json.encode(record).decode(), record.id],
        )

    def find(self, kind: type[R], id: str) -> R | None:
        """Return an object of this kind, or None."""
        rows = self.execute("SELECT body FROM record WHERE id = ? AND kind = ?", [id, kind.kind])
        return msgspec.json.decode(rows[0][0], type=kind) if rows else None

    def get(self, kind: type[R], id: str) -> R:
        """Return an object that another object refers to."""
        record = self.find(kind, id)
        if record is None:
            raise LookupError(
                f"The ledger refers to {id}, but does not contain it. "
                f"Another program changed the file."
            )

        return record

    def select(self, kind: type[R], condition: str = "", values: Sequence[Any] = ()) -> list[R]:
        """Return the objects of a kind that match `condition`: SQL on the table `record`.

        The condition may also contain ORDER BY and LIMIT.
        """
        # Partial indexes need the kind as a literal.
        sql = f"SELECT body FROM record WHERE kind = '{kind.kind}' {condition}"  # noqa: S608
        rows = self.execute(sql, values)
        return [msgspec.json.decode(body, type=kind) for (body,) in rows]

    def add_movement(self, kind: str, id: str) -> None:
        """Add a movement of money to the ledger.

        `kind`: the `capture` of a charge, a `refund`, a `dispute` or its `dispute_return`.
        """
        self.execute("INSERT INTO money_movement (kind, id) VALUES (?, ?)", [kind, id])
