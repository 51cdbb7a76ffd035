"""The limits of calls that operators have set, and the calls that all processes have started.

A key has a row if an operator has set its limit, or if a process has asked for permits of it. The
row keeps the time of the next start, and how many calls each process runs. A process decides while
it holds the lock of the row, so the limits hold over all processes
(`sagas.execution.in_flight.permits`).
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from sagas import sql
from sagas.definition.limits import Limit, Limits
from sagas.storage.registry import Service

__all__ = [
    "LISTED",
    "KeyState",
    "SetLimit",
    "by_operators",
    "decode",
    "listed",
    "lock",
    "purge",
    "reached",
    "remove",
    "save",
    "set_limit",
]

# Seconds for which a limit counts as reached after a call has waited for it.
REACHED_SECONDS = 60

# Rows without an operator's limit are deleted after this time without a call, in seconds.
KEPT_SECONDS = 3_600

# As a column: the limits that operators have set, as JSON; null without any
LISTED = """(SELECT jsonb_object_agg(l.key, jsonb_build_object('per_second', l.per_second,
                                                             'at_once', l.at_once))::text
  FROM {limit} l WHERE l.by <> '')"""

ADD = """
INSERT INTO {limit} (key) SELECT unnest(%(keys)s::text[]) AS key ORDER BY key
ON CONFLICT (key) DO NOTHING
"""

# Lock the rows of some keys
# The clock is read after the lock, because other processes may have used it meanwhile. The commit
# does not wait for the disk: a crash of the database server ends the calls' claims too.
LOCK = """
WITH locked AS MATERIALIZED (
  SELECT key, next_at, in_use FROM {limit}
   WHERE key = ANY(%(keys)s::text[]) ORDER BY key FOR UPDATE
)
SELECT key, extract(epoch FROM next_at)::float8, in_use::text,
       extract(epoch FROM clock_timestamp())::float8, {listed}
  FROM locked, {async_commit}
"""

SAVE = """
UPDATE {limit} l
   SET next_at = to_timestamp(r.next_at), in_use = r.in_use, used_at = clock_timestamp(),
       reached_at = CASE WHEN r.is_reached THEN clock_timestamp() ELSE l.reached_at END
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r(key text, next_at float8, in_use jsonb, is_reached bool)
 WHERE l.key = r.key
RETURNING extract(epoch FROM clock_timestamp())::float8
"""

SET = """
INSERT INTO {limit} (key, per_second, at_once, by, why, since)
VALUES (%(key)s, %(per_second)s, %(at_once)s, %(by)s, %(why)s, clock_timestamp())
ON CONFLICT (key) DO UPDATE
   SET per_second = EXCLUDED.per_second, at_once = EXCLUDED.at_once, by = EXCLUDED.by,
       why = EXCLUDED.why, since = EXCLUDED.since
"""

REMOVE = """
UPDATE {limit} SET per_second = NULL, at_once = NULL, by = '', why = ''
 WHERE key = %(key)s AND by <> ''
"""

LIST = """
SELECT key, per_second, at_once, by, why, since,
       COALESCE(reached_at > clock_timestamp() - make_interval(secs => %(reached)s), false)
  FROM {limit}
 WHERE by <> '' OR reached_at > clock_timestamp() - make_interval(secs => %(reached)s)
 ORDER BY key LIMIT %(most)s
"""

PURGE = """
DELETE FROM {limit}
 WHERE id = ANY(ARRAY(SELECT id FROM {limit}
                       WHERE by = '' AND used_at < now() - make_interval(secs => %(kept)s)
                       ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED))
"""

# Keys that an operator sees.
MOST_LISTED = 200


class KeyState(msgspec.Struct, kw_only=True):
    """The row of a key, locked. Times are in seconds of the database's clock.

    `next_at`: the earliest start of the next call. `in_use`: for each process, the calls it runs
    and the time until which they count. `is_reached`: a call waits for the limit.
    """

    key: str
    next_at: float
    in_use: dict[str, tuple[int, float]]
    now: float
    is_reached: bool = False


class SetLimit(NamedTuple):
    """The limit of a key, as operators see it.

    `by` is the operator who set the limit. It is empty if no operator did: then the limit is
    listed because calls have waited for it within the last minute.
    """

    key: str
    per_second: int | None
    at_once: int | None
    by: str
    why: str
    since: datetime
    is_reached: bool


_decoder = msgspec.json.Decoder(dict[str, Limit])
_usage_decoder = msgspec.json.Decoder(dict[str, tuple[int, float]])


def decode(text: str | None) -> Limits:
    """Return the limits of the column `LISTED`."""
    return Limits(_decoder.decode(text)) if text else Limits()


def by_operators(service: Service) -> Limits:
    """Return the limits that operators have set."""
    statement = f"SELECT {LISTED.format(limit=service.limit)}"
    [(text,)] = sql.fetch(service.alias, statement, {})
    return decode(text)


def lock(service: Service, keys: Collection[str]) -> tuple[list[KeyState], Limits]:
    """Lock the rows of keys, in the caller's transaction; return them with all limits set."""
    rows = _locked(service, keys)
    if len(rows) < len(set(keys)):
        params = {"keys": sorted(set(keys))}
        sql.run(service.alias, ADD.format(limit=service.limit), params)
        rows = _locked(service, keys)

    states = [
        KeyState(key=key, next_at=next_at, in_use=_usage_decoder.decode(in_use), now=now)
        for key, next_at, in_use, now, _ in rows
    ]
    return states, decode(rows[0][-1] if rows else None)


def save(service: Service, states: Sequence[KeyState]) -> float:
    """Write the rows that `lock` has locked; return the time by the database's clock."""
    rows: list[Mapping[str, Any]] = [
        {
            "key": state.key,
            "next_at": state.next_at,
            "in_use": state.in_use,
            "is_reached": state.is_reached,
        }
        for state in states
    ]
    statement = SAVE.format(limit=service.limit)
    saved = sql.fetch(service.alias, statement, {"rows": sql.json_rows(rows)})
    return max((now for (now,) in saved), default=0.0)


def set_limit(service: Service, key: str, limit: Limit, *, by: str, why: str) -> None:
    """Set the limit of a key. It replaces the default, also if it is no limit at all."""
    params = {
        "key": key,
        "per_second": limit.per_second,
        "at_once": limit.at_once,
        "by": by,
        "why": why,
    }
    sql.run(service.alias, SET.format(limit=service.limit), params)


def remove(service: Service, key: str) -> bool:
    """Let the default of a key hold again; return False if no limit was set."""
    return bool(sql.run(service.alias, REMOVE.format(limit=service.limit), {"key": key}))


def listed(service: Service) -> list[SetLimit]:
    """Return the limits that are set, and the keys whose limit was reached lately."""
    params = {"reached": REACHED_SECONDS, "most": MOST_LISTED}
    rows = sql.fetch(service.alias, LIST.format(limit=service.limit), params)
    return [SetLimit(*row) for row in rows]


def reached(service: Service) -> list[str]:
    """Return the keys whose limit was reached lately."""
    return [each.key for each in listed(service) if each.is_reached]


def purge(service: Service) -> int:
    """Delete rows without an operator's limit that no call has used lately; return how many."""
    return sql.run(service.alias, PURGE.format(limit=service.limit), {"kept": KEPT_SECONDS})


def _locked(service: Service, keys: Collection[str]) -> list[tuple[Any, ...]]:
    statement = LOCK.format(
        limit=service.limit,
        listed=LISTED.format(limit=service.limit),
        async_commit=sql.ASYNC_COMMIT,
    )
    return sql.fetch(service.alias, statement, {"keys": sorted(set(keys))})
