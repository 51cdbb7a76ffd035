"""Loads the messages and the timelines of sagas of any kind: one statement for each table."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from audit.databases import fetch
from audit.snapshot import Event, InboxRow, SagaSnapshot, TimelineRow
from sagas.definition.plan import Plan
from sagas.storage.arrivals import ARRIVED
from sagas.storage.registry import Home, Service

__all__ = ["add_messages", "add_timeline", "decode_plan", "fill", "mark_purged"]

S = TypeVar("S", bound=SagaSnapshot)

TIMELINE = "SELECT saga, id, seq, type FROM {timeline} WHERE saga = ANY(%(orders)s::uuid[])"

# A row with an id is of the outbox. Without one it is of the inbox, with its state as the type.
# The arrivals of parallel branches are no steps.
MESSAGES = """
SELECT saga, id, seq, type, step, target,
       published_at IS NULL AND due_at < now() - make_interval(secs => %(unsent_after)s)
  FROM {outbox} WHERE saga = ANY(%(orders)s::uuid[])
 UNION ALL
SELECT saga, NULL, NULL, state, step, NULL, NULL
  FROM {inbox} WHERE saga = ANY(%(orders)s::uuid[]) AND step NOT LIKE %(arrivals)s
"""

# The row with an empty home is of a release that did not tell the homes apart.
PURGED_BEFORE = "SELECT max(before) FROM {watermark} WHERE home IN ('', %(home)s)"

decode_plan = lru_cache(maxsize=100)(msgspec.json.Decoder(Plan).decode)


def add_timeline(snapshots: Mapping[UUID, S], home: Home) -> None:
    """Add the timelines of some sagas of a home."""
    statement = TIMELINE.format(timeline=home.timeline._meta.db_table)
    fill(
        snapshots,
        home.alias,
        statement,
        lambda saga, row: saga.timeline.append(TimelineRow(*row)),
    )


def add_messages(
    snapshots: Mapping[UUID, S], services: Iterable[Service], *, unsent_after: float
) -> None:
    """Add the outbox and inbox rows of some sagas.

    `unsent_after`: seconds after which an outbox row that is due and not sent counts as stuck.
    """
    for service in services:
        statement = MESSAGES.format(outbox=service.outbox, inbox=service.inbox)
        fill(
            snapshots,
            service.alias,
            statement,
            _add_message,
            unsent_after=unsent_after,
            arrivals=f"%{ARRIVED}",
        )


def mark_purged(
    snapshots: Iterable[SagaSnapshot], services: Iterable[Service], *, home: str
) -> None:
    """Mark the sagas of a home whose messages a service has purged, by the latest watermark."""
    marks = [
        fetch(service.alias, PURGED_BEFORE.format(watermark=service.watermark), {"home": home})
        for service in services
    ]
    before = max((mark for [(mark,)] in marks if mark is not None), default=None)
    for snapshot in snapshots:
        snapshot.has_messages = before is None or snapshot.row.created_at >= before


def fill(
    snapshots: Mapping[UUID, S],
    alias: str,
    sql: str,
    add: Callable[[S, tuple[Any, ...]], None],
    **params: Any,
) -> None:
    """Run a statement about some sagas, and add each row to the snapshot of its first column."""
    for saga, *columns in fetch(alias, sql, {"orders": list(snapshots), **params}):
        add(snapshots[saga], tuple(columns))


def _add_message(snapshot: SagaSnapshot, row: tuple[Any, ...]) -> None:
    event_id, _, type_or_state, step, *_ = row
    if event_id is None:
        snapshot.steps.append(InboxRow(step, type_or_state))
    else:
        snapshot.events.append(Event(*row))
