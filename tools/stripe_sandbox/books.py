"""The sandbox's own books: one SQLite file, which stands for an outside system's ledger and
forgets nothing.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tools.stripe_sandbox.records import Record

__all__ = ["Books"]

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
CREATE INDEX IF NOT EXISTS record_charge ON record (kind, json_extract(body, '$.charge'), seq);
CREATE INDEX IF NOT EXISTS record_payment_intent ON record (kind, json_extract(body, '$.payment_intent'), seq);
CREATE TABLE IF NOT EXISTS tag (
    key TEXT NOT NULL, value TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (key, value, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS movement (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('capture', 'refund')),
    id TEXT NOT NULL UNIQUE
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


class Books:
    """The books, used by one thread at a time: SQLite has one writer, and a lock is a fairer
    queue than its retries.
    """

    def __init__(
        self, path: Path, *, listened_to: bool = False, settle_seconds: float = 10.0
    ) -> None:
        """Open the books, making them where there are none.

        `listened_to`: an endpoint waits for events. `settle_seconds`: how long a bank takes for
        what it does not do at once.
        """
        self.listened_to = listened_to
        self.settle_seconds = settle_seconds
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=30
        )
        # A killed process loses nothing in this mode; only a power cut might, and this is no bank.
        self._connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
        self._connection.executescript(SCHEMA)
        self._ahead = float(self._connection.execute("SELECT ahead FROM clock").fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block writes as a whole, or nothing of it."""
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
        """How many seconds the sandbox's clock is ahead."""
        return self._ahead

    def advance(self, seconds: float) -> None:
        """Set the clock forward, for good."""
        with self.transaction():
            self.execute("UPDATE clock SET ahead = ahead + ?", [seconds])
            self._ahead += seconds

    def add(self, record: Record) -> None:
        """Write down a new object."""
        body = msgspec.json.encode(record).decode()
        row = [record.id, record.kind, record.created, body]
        self.execute("INSERT INTO record (id, kind, created, body) VALUES (?, ?, ?, ?)", row)

    def save(self, record: Record) -> None:
        """Write down what has become of an object."""
        self.execute(
            "UPDATE record SET body = ? WHERE id = ?",
            [msgspec.json.encode(record).decode(), record.id],
        )

    def find(self, kind: type[R], id: str) -> R | None:
        """Return an object, or None where there is none of this kind."""
        rows = self.execute("SELECT body FROM record WHERE id = ? AND kind = ?", [id, kind.kind])
        return msgspec.json.decode(rows[0][0], type=kind) if rows else None

    def get(self, kind: type[R], id: str) -> R:
        """Return an object that another one names, so it exists."""
        record = self.find(kind, id)
        if record is None:
            raise LookupError(
                f"The books name {id}, but do not hold it: the file was changed by another hand."
            )
        return record

    def select(self, kind: type[R], condition: str = "", values: Sequence[Any] = ()) -> list[R]:
        """Return the objects of a kind that an SQL condition on table `record` (and an order and
        a limit) picks.
        """
        rows = self.execute(
            f"SELECT body FROM record WHERE kind = ? {condition}",  # noqa: S608
            [kind.kind, *values],
        )
        return [msgspec.json.decode(body, type=kind) for (body,) in rows]

    def moved(self, kind: str, id: str) -> None:
        """Note in the ledger that money moved: a `capture` by a charge, or a `refund`."""
        self.execute("INSERT INTO movement (kind, id) VALUES (?, ?)", [kind, id])
