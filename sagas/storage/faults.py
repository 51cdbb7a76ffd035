"""The evidence of failures: for which sagas a step failed with which error, and whether it has
succeeded meanwhile.

Rows are written when a step fails, never when it succeeds: a success is read from the inbox. All
processes of a service share the rows.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

import msgspec

from sagas import sql
from sagas.definition.hold_scope import HoldScope
from sagas.storage.registry import Service

__all__ = [
    "Evidence",
    "EvidenceKey",
    "FaultRow",
    "age_after_success",
    "mark_shared",
    "purge",
    "record",
    "weigh",
]

# A saga that fails with the same error after a longer pause, in seconds, counts as new.
EPISODE_SECONDS = 600

# Evidence is kept for this time after the last failure, in seconds. Of each error at a destination,
# and of each step, only this number of sagas is kept: the newest.
KEPT_SECONDS = 3_600
KEPT_OF_ERROR = 100
KEPT_OF_STEP = 1_000

# The newest outbox rows, by which a success is looked up: each success writes one. The rows of the
# step that changed last tell which share of the sagas fails.
READ = 2_000
SAMPLE = 100

# Every statement locks rows in the order of their ids. A repeated failure of a saga keeps its first
# time, unless a new episode begins.
RECORD = """
INSERT INTO {fault} AS f (id, step, pattern, saga, blame, destination, error, beside_success,
                          shared, first_at, last_at)
SELECT r.id, %(step)s, r.pattern, r.saga, r.blame, r.destination, r.error, r.beside_success, false,
       clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r(id uuid, pattern uuid, saga uuid, blame text, destination text, error text,
         beside_success bool)
 ORDER BY r.id
ON CONFLICT (id) DO UPDATE
   SET error = EXCLUDED.error, last_at = clock_timestamp(),
       first_at = CASE WHEN f.last_at > clock_timestamp() - make_interval(secs => %(episode)s)
                       THEN f.first_at ELSE clock_timestamp() END,
       beside_success = EXCLUDED.beside_success
                        OR f.beside_success
                           AND f.last_at > clock_timestamp() - make_interval(secs => %(episode)s)
"""

# A statement of its own, so that it sees the rows of RECORD. A step succeeds if
# it is done, or waits as agreed. A refused row may have been given up, and a person's completion
# proves nothing. The newest inbox rows would not do, because a backlog of
# messages that wait writes inbox rows, and no outbox rows.
# The evidence of a destination has its own failures and successes only. For each error there is
# also the evidence of the whole step, with the failures of all destinations that are not on hold.
WEIGH = """
WITH requested AS MATERIALIZED (
  SELECT a.pattern, a.destination, false AS whole
    FROM jsonb_to_recordset(%(requested)s::jsonb) AS a(pattern uuid, destination text)
   UNION
  SELECT a.pattern, '', true FROM jsonb_to_recordset(%(requested)s::jsonb) AS a(pattern uuid)
), sagas AS MATERIALIZED (
  SELECT saga FROM (SELECT saga, step FROM {outbox} ORDER BY id DESC LIMIT {read}) newest
   WHERE step = %(step)s
   UNION
  SELECT saga FROM {fault} WHERE step = %(step)s
), recent AS MATERIALIZED (
  SELECT i.state, i.error, i.updated_at, i.destination,
         i.state = 'waiting' AND i.attempts = 0 AND i.error <> '' AND i.send_at IS NOT NULL
         AND i.due_at > i.updated_at AS waits_as_agreed
    FROM sagas JOIN {inbox} i ON i.saga = sagas.saga AND i.step = %(step)s AND i.by_hand IS NULL
), scopes AS MATERIALIZED (
  SELECT a.pattern, a.destination, a.whole,
         (SELECT COALESCE(max(r.updated_at), '-infinity') FROM recent r
           WHERE (r.state = 'done' OR r.waits_as_agreed)
             AND a.destination IN ('', r.destination)) AS success_at,
         (SELECT count(*) FILTER (WHERE state <> 'done')::float8 / GREATEST(1, count(*))
            FROM (SELECT r.state FROM recent r
                   WHERE (r.state = 'done'
                          OR r.state IN ('started', 'waiting', 'held') AND r.error <> '')
                     AND a.destination IN ('', r.destination)
                   ORDER BY r.updated_at DESC LIMIT {sample}) newest) AS failing
    FROM requested a
)
SELECT s.pattern, CASE WHEN NOT s.whole THEN s.destination END,
       count(DISTINCT f.saga), count(DISTINCT f.saga) FILTER (WHERE {is_new}),
       COALESCE(extract(epoch FROM clock_timestamp() - min(f.first_at) FILTER (WHERE {is_new})),
                0)::float8,
       extract(epoch FROM clock_timestamp() - min(f.first_at))::float8,
       min(s.failing), count(DISTINCT NULLIF(f.destination, '')),
       count(DISTINCT NULLIF(f.destination, '')) FILTER (WHERE {is_new})
  FROM scopes s
  JOIN {fault} f ON f.step = %(step)s AND f.pattern = s.pattern
                AND CASE WHEN s.whole
                         THEN NOT EXISTS (SELECT 1 FROM {hold} h
                                           WHERE h.calling_step = f.step
                                             AND h.destination = f.destination)
                         ELSE f.destination = s.destination END
 GROUP BY s.pattern, s.destination, s.whole
"""

IS_NEW = "NOT f.beside_success AND f.first_at > s.success_at"

MARK_SHARED = """
UPDATE {fault} SET shared = true WHERE id = ANY(ARRAY(
  SELECT id FROM {fault} WHERE id = ANY(%(ids)s::uuid[]) AND NOT shared ORDER BY id FOR UPDATE))
"""

AGE_AFTER_SUCCESS = """
UPDATE {fault} SET beside_success = true, shared = false WHERE id = ANY(ARRAY(
  SELECT f.id FROM {fault} f
    JOIN jsonb_to_recordset(%(scopes)s::jsonb) AS r(step text, destination text)
      ON r.step = f.step AND r.destination = f.destination
   ORDER BY f.id FOR UPDATE OF f))
"""

PURGE = """
DELETE FROM {fault} WHERE id = ANY(ARRAY(
  SELECT f.id FROM {fault} f
    JOIN (SELECT id, row_number() OVER (PARTITION BY step, pattern, destination
                                      ORDER BY last_at DESC) AS n,
                 row_number() OVER (PARTITION BY step ORDER BY last_at DESC) AS of_step
            FROM {fault}) ranked USING (id)
   WHERE n > %(of_error)s OR of_step > %(of_step)s
      OR f.last_at < clock_timestamp() - make_interval(secs => %(kept)s)
   ORDER BY f.id FOR UPDATE OF f SKIP LOCKED))
"""


class FaultRow(msgspec.Struct, frozen=True, kw_only=True):
    """A failure of a step for one saga. `destination`: the outside system at fault, or empty."""

    id: UUID
    pattern: UUID
    saga: UUID
    blame: str
    error: str
    beside_success: bool
    destination: str


# An error, and the failures that are its evidence. A name: the failures at this destination. An
# empty text: the failures without a destination. None: all failures of the step, except those at
# destinations that are on hold.
EvidenceKey: TypeAlias = tuple[UUID, str | None]


class Evidence(NamedTuple):
    """The evidence about one error of a step, or of its calls to one destination.

    `sagas` met the error. `new_sagas` of them met it first after the last success, the first of
    these `quiet_seconds` ago. `seconds`: since the error was first met. `failing`: the share of the
    newest sagas that fail, with any error. `destinations`: at how many the sagas failed.
    `new_destinations`: at how many the new sagas failed.
    """

    sagas: int
    new_sagas: int
    quiet_seconds: float
    seconds: float
    failing: float
    destinations: int
    new_destinations: int


def record(service: Service, step: str, rows: Iterable[FaultRow]) -> None:
    """Record failures of a step, inside the caller's transaction."""
    stored = [msgspec.to_builtins(row) for row in rows]
    params = {"step": step, "rows": sql.json_rows(stored), "episode": EPISODE_SECONDS}
    sql.run(service.alias, RECORD.format(fault=service.fault), params)


def weigh(
    service: Service, step: str, requested: Iterable[tuple[UUID, str]]
) -> dict[EvidenceKey, Evidence]:
    """Return the evidence about some errors of a step, each with the destination at fault.

    For each error, also return the evidence of the whole step.
    """
    statement = WEIGH.format(
        fault=service.fault,
        inbox=service.inbox,
        outbox=service.outbox,
        hold=service.hold,
        read=READ,
        sample=SAMPLE,
        is_new=IS_NEW,
    )
    keys = [{"pattern": pattern, "destination": name} for pattern, name in requested]
    params = {"step": step, "requested": sql.json_rows(keys)}
    rows: list[tuple[Any, ...]] = sql.fetch(service.alias, statement, params)
    return {(pattern, name): Evidence(*numbers) for pattern, name, *numbers in rows}


def mark_shared(service: Service, ids: Sequence[UUID]) -> None:
    """Mark failures as no fault of their sagas: operators see them as one incident."""
    statement = MARK_SHARED.format(fault=service.fault)
    sql.run(service.alias, statement, {"ids": sql.array_literal(ids)})


def age_after_success(service: Service, scopes: Iterable[HoldScope]) -> None:
    """Note that a step, or its calls to a destination, have succeeded: the sagas known so far are
    no sign of a fault now. The scope of a step means its failures without a destination.
    """
    statement = AGE_AFTER_SUCCESS.format(fault=service.fault)
    rows = [scope._asdict() for scope in scopes]
    sql.run(service.alias, statement, {"scopes": sql.json_rows(rows)})


def purge(service: Service) -> int:
    """Delete old evidence, and all but the newest of each error and step; return the rows."""
    params = {"of_error": KEPT_OF_ERROR, "of_step": KEPT_OF_STEP, "kept": KEPT_SECONDS}
    return sql.run(service.alias, PURGE.format(fault=service.fault), params)
