"""The ends of child sagas, in the inbox rows of the steps that have started them.

A step and its child have one home, so one database. The transaction that records the end of the
child writes it into the row of the step. That row decides: the step and its undo lock it before
they read the end. So an end is read, or it comes after them and makes their rows due.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from sagas import sql
from sagas.definition.child_rules import ChildEnd, child_id, undoing_step
from sagas.definition.events import is_notice
from sagas.definition.messages import to_json
from sagas.definition.waits import Signal
from sagas.models import TrackedSaga
from sagas.storage.registry import Home, Service, get_service

__all__ = ["ENDED", "EndedSaga", "find_child", "find_end", "note_ends", "read_end"]

# The type of the signal in the row of a step whose child has ended.
ENDED = "saga.child_ended"

# Write the end of a child into the row of its step, which may be barred by now
# An open row is due at once. A held row stays held, and a parked row stays parked.
NOTE = """
UPDATE {inbox} i
   SET signal = %(signal)s::jsonb || jsonb_build_object('at', clock_timestamp()),
       due_at = CASE WHEN {is_open} THEN clock_timestamp() ELSE i.due_at END,
       send_at = CASE WHEN {is_open} AND i.send_at IS NOT NULL
                      THEN clock_timestamp() ELSE i.send_at END,
       updated_at = clock_timestamp()
 WHERE i.saga = %(parent)s AND i.step = %(step)s AND i.signal IS NULL
"""

# Make the undo of the step due, if it waits for the end
WAKE = """
UPDATE {inbox} i SET due_at = clock_timestamp(), send_at = clock_timestamp()
 WHERE i.saga = %(parent)s AND i.step = %(undo)s AND {is_open}
"""

IS_OPEN = "i.state = 'waiting' AND i.due_at < timestamptz '9999-01-01'"

FIND = "SELECT signal::text FROM {inbox} WHERE saga = %(parent)s AND step = %(step)s"

# The last refusal, as the messages that undo the saga carry it.
FAILURE = """
SELECT (context->'failure')::text FROM {outbox}
 WHERE saga = %(saga)s AND context ? 'failure' ORDER BY id DESC LIMIT 1
"""

# Whether the step that ends a compensated saga is done
ABORTED = """
SELECT DISTINCT type FROM {timeline} WHERE saga = %(saga)s AND step = %(abort)s
"""

UNKNOWN_FAILURE = {"code": "child_undone", "detail": "The child saga was undone."}

_decoder = msgspec.json.Decoder(Signal)


class EndedSaga(NamedTuple):
    """A child that has just ended, and the step of its parent. `is_undone`: its abort is done."""

    saga: UUID
    parent: UUID
    step: str
    is_undone: bool


def note_ends(home: Home, ended: Sequence[EndedSaga]) -> None:
    """Write the ends of children into the rows of their steps, in the caller's transaction.

    The caller has just recorded the ends. An end that is noted already stays as it is.
    """
    service = get_service(home.name)
    for each in sorted(ended):
        failure = _failure(service, each.saga) if each.is_undone else None
        end = ChildEnd(child=each.saga, failure=failure)
        data = msgspec.to_builtins(end)
        signal = Signal(type=ENDED, data=data, by=str(each.saga))
        params = {
            "parent": each.parent,
            "step": each.step,
            "undo": undoing_step(each.step),
            "signal": to_json(signal),
        }
        for statement in (NOTE, WAKE):
            sql.run(service.alias, statement.format(inbox=service.inbox, is_open=IS_OPEN), params)


def find_end(service: Service, step: str, parent: UUID) -> ChildEnd | None:
    """Return the end of a step's child as the row of the step has it, or None."""
    params = {"parent": parent, "step": step}
    for (text,) in sql.fetch(service.alias, FIND.format(inbox=service.inbox), params):
        signal = _decoder.decode(text) if text else None
        if signal is not None and signal.type == ENDED:
            return msgspec.convert(signal.data, ChildEnd)
    return None


def find_child(home: Home, parent: UUID, step: str) -> TrackedSaga | None:
    """Return the tracked row of the child that a step has started, or None."""
    key = child_id(parent, step)
    for kind in home.kinds:
        row = kind._base_manager.using(home.alias).filter(pk=key).first()
        if row is not None:
            return row
    return None


def read_end(home: Home, row: TrackedSaga) -> ChildEnd | None:
    """Return the end of a child by its tracked row and its timeline; None while it is open.

    A release that knows no children records an end without noting it.
    """
    if row.ended_at is None:
        return None
    params = {"saga": row.pk, "abort": row.plan["abort"]}
    statement = ABORTED.format(timeline=home.timeline._meta.db_table)
    types = [type_ for (type_,) in sql.fetch(home.alias, statement, params)]
    is_undone = not all(map(is_notice, types))
    failure = _failure(get_service(home.name), row.pk) if is_undone else None
    return ChildEnd(child=row.pk, failure=failure)


def _failure(service: Service, saga: UUID) -> Mapping[str, str]:
    statement = FAILURE.format(outbox=service.outbox)
    for (text,) in sql.fetch(service.alias, statement, {"saga": saga}):
        found: Any = msgspec.json.decode(text)
        if isinstance(found, dict):
            return {key: str(found.get(key, "")) for key in UNKNOWN_FAILURE}
    return UNKNOWN_FAILURE
