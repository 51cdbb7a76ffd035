"""The sandbox's database: files of the last release, and indexes for the lists of large ledgers."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tools.stripe_sandbox.records import BalanceTransaction, Charge, Dispute, Record, Refund
from tools.stripe_sandbox.store import Store


class RecordingStore(Store):
    """A store that records its statements."""

    def __init__(self, path: Path) -> None:
        self.sql: list[str] = []
        super().__init__(path)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        self.sql.append(sql)
        return super().execute(sql, values)


def test_a_ledger_of_the_last_release_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(
            """
            CREATE TABLE movement (
                seq INTEGER PRIMARY KEY AUTOINCREMENT,
                kind TEXT NOT NULL CHECK (kind IN ('capture', 'refund')),
                id TEXT NOT NULL UNIQUE
            );
            INSERT INTO movement (seq, kind, id) VALUES (7, 'capture', 'ch_1');
            """
        )

    for _ in range(2):
        with closing(Store(path)) as store:
            rows = store.execute("SELECT seq, kind, id FROM money_movement")
            assert rows == [(7, "capture", "ch_1")]

    with closing(Store(path)) as store:
        store.add_movement("dispute", "du_1")
        store.add_movement("dispute_return", "du_1")
        assert [seq for (seq,) in store.execute("SELECT seq FROM money_movement")] == [7, 8, 9]


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (Charge, "payment_intent"),
        (Refund, "charge"),
        (Refund, "payment_intent"),
        (Dispute, "charge"),
        (BalanceTransaction, "type"),
        (BalanceTransaction, "source"),
    ],
)
def test_a_list_of_related_objects_uses_an_index(
    tmp_path: Path, kind: type[Record], field: str
) -> None:
    with closing(RecordingStore(tmp_path / "ledger.sqlite3")) as store:
        store.select(kind, f"AND json_extract(body, '$.{field}') IN (?) ORDER BY seq DESC", ["x"])
        explained = store.execute(f"EXPLAIN QUERY PLAN {store.sql[-1]}", ["x"])

    plan = " ".join(str(row) for row in explained)
    assert "USING INDEX" in plan, plan
    assert "<expr>=?" in plan, plan
