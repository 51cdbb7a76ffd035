"""The signals of waits, in the inbox rows of the waits, and the times of timers.

A wait has one inbox row. A signal locks it, and so do the message, the expiry and the undo of the
wait. So one of two waits for the other, and then sees its result. A signal that comes first inserts
the row. It has no message yet, so the relay does not send it. The message takes it over later.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from sagas import sql
from sagas.definition.messages import to_json
from sagas.definition.waits import Signal, WaitState
from sagas.storage import inbox_sql
from sagas.storage.registry import Service

__all__ = ["EARLY", "OpenWait", "add", "begin", "begin_until", "expiry", "find", "open_waits"]

# Condition: row `i` has a signal that came before the message
EARLY = "i.state = 'waiting' AND i.message IS NULL AND i.signal IS NOT NULL"

# Begin waits
# The rows are claimed by the caller. The first run without a signal sets the time of the expiry,
# and later runs leave it. The claim has locked the row. So a signal that came before is
# read here, and a later one waits for the end of this transaction and then makes the row due.
BEGIN = """
UPDATE {inbox} i
   SET expires_at = coalesce(i.expires_at, clock_timestamp() + %(expires)s::interval)
 WHERE i.step = %(step)s AND i.saga = ANY(%(sagas)s::uuid[])
RETURNING i.saga, i.signal::text, i.expires_at,
          coalesce(extract(epoch FROM i.expires_at - clock_timestamp()), 0)::float8
"""

# Begin timers until a time of their own
BEGIN_UNTIL = """
UPDATE {inbox} i
   SET expires_at = t.until
  FROM unnest(%(sagas)s::uuid[], %(times)s::timestamptz[]) AS t(saga, until)
 WHERE i.step = %(step)s AND i.saga = t.saga
RETURNING i.saga, i.signal::text, i.expires_at,
          extract(epoch FROM i.expires_at - clock_timestamp())::float8
"""

# Add a signal
# The first signal counts. A wait that is over or has expired takes none, even if no worker has
# noted the expiry yet. The row of a running wait is due at once. A held row stays held, and
# a parked row stays parked. clock_timestamp() is read again after the wait for the row's lock.
ADD = """
INSERT INTO {inbox} AS i (saga, saga_started_at, step, state, attempts, error, due_at, signal,
                          created_at, updated_at)
SELECT m.saga, m.started_at, %(step)s, 'waiting', 0, '', clock_timestamp(),
       %(signal)s::jsonb || jsonb_build_object('at', clock_timestamp()),
       clock_timestamp(), clock_timestamp()
  FROM (SELECT %(saga)s::uuid AS saga, %(started_at)s::timestamptz AS started_at) m
 WHERE {not_purged}
ON CONFLICT (saga, step) DO UPDATE
   SET signal = EXCLUDED.signal,
       due_at = CASE WHEN i.state = 'waiting' THEN clock_timestamp() ELSE i.due_at END,
       send_at = CASE WHEN i.state = 'waiting' AND i.send_at IS NOT NULL
                      THEN clock_timestamp() ELSE i.send_at END,
       updated_at = clock_timestamp()
 WHERE i.state IN ('started', 'waiting', 'held') AND i.signal IS NULL
   AND i.due_at < timestamptz '9999-01-01'
   AND (i.expires_at IS NULL OR i.expires_at > clock_timestamp())
RETURNING i.saga
"""

EXPIRY = "SELECT expires_at FROM {inbox} WHERE saga = %(saga)s AND step = %(step)s"

FIND = "SELECT signal::text FROM {inbox} WHERE saga = %(saga)s AND step = %(step)s"

OPEN = """
SELECT saga, step, expires_at FROM {inbox}
 WHERE saga = ANY(%(sagas)s::uuid[]) AND state IN ('started', 'waiting', 'held')
   AND signal IS NULL AND expires_at > clock_timestamp()
 ORDER BY saga, id
"""


class OpenWait(NamedTuple):
    """A wait that takes a signal now."""

    saga: UUID
    step: str
    expires_at: datetime


def begin(
    service: Service, step: str, sagas: Sequence[UUID], *, expires: timedelta | None
) -> dict[UUID, WaitState]:
    """Begin the waits whose rows the caller has claimed, or go on with them; return each state.

    Without `expires`, a wait that has not begun gets no expiry: see `begin_until`.
    """
    params = {"step": step, "sagas": sql.array_literal(sagas), "expires": expires}
    return _states(service, BEGIN, params)


def begin_until(
    service: Service, step: str, times: Mapping[UUID, datetime]
) -> dict[UUID, WaitState]:
    """Begin timers whose rows the caller has claimed, each until its own time."""
    params = {"step": step, "sagas": sql.array_literal(times), "times": list(times.values())}
    return _states(service, BEGIN_UNTIL, params)


def add(
    service: Service, step: str, saga: UUID, signal: Signal, *, started_at: datetime, home: str
) -> bool:
    """Add a signal to the row of a wait, or insert the row; return False if it comes too late.

    It also comes too late after another signal, and for a purged saga. `started_at` is when the
    saga started, and `home` is the home of its plan.
    """
    params = {
        "step": step,
        "saga": saga,
        "signal": to_json(signal),
        "started_at": started_at,
        "home": home,
    }
    return bool(_fetch(service, ADD, params))


def expiry(service: Service, step: str, saga: UUID) -> datetime | None:
    """Return when a wait expires or would have expired, or None if it has not begun."""
    for (expires_at,) in _fetch(service, EXPIRY, {"step": step, "saga": saga}):
        found: datetime | None = expires_at
        return found
    return None


def find(service: Service, step: str, saga: UUID) -> Signal | None:
    """Return the signal that counts for a wait, or None if it has got none."""
    for (signal,) in _fetch(service, FIND, {"step": step, "saga": saga}):
        return _decoded(signal)
    return None


def open_waits(service: Service, sagas: Sequence[UUID]) -> list[OpenWait]:
    """Return the waits of sagas in a service that have begun and take a signal now.

    The timers that run are among them; the caller leaves them out.
    """
    params = {"sagas": sql.array_literal(sagas)}
    return [OpenWait(*row) for row in _fetch(service, OPEN, params)]


_decoder = msgspec.json.Decoder(Signal)


def _decoded(signal: str | None) -> Signal | None:
    return None if signal is None else _decoder.decode(signal)


def _states(service: Service, statement: str, params: Mapping[str, Any]) -> dict[UUID, WaitState]:
    return {
        saga: WaitState(signal=_decoded(signal), expires_at=expires_at, seconds_left=seconds)
        for saga, signal, expires_at, seconds in _fetch(service, statement, params)
    }


def _fetch(service: Service, statement: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return sql.fetch(service.alias, inbox_sql.for_service(service, statement), params)
