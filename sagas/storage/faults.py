"""The evidence of failures: for which sagas a step failed with which error, and whether it has
succeeded meanwhile.

Rows are written when a step fails, never when it succeeds: a success is read from the inbox. All
processes of a service share the rows.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from sagas import sql
from sagas.storage.registry import Service

__all__ = ["Evidence", "FaultRow", "age_after_success", "mark_shared", "purge", "record", "weigh"]

# A saga that fails with the same error after a longer pause, in seconds, counts as new.
EPISODE_SECONDS = 600

# Evidence is kept for this time after the last failure, in seconds. Of each error and of each step,
# only this number of sagas is kept: the newest.
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
INSERT INTO {fault} AS f (id, step, pattern, saga, blame, error, beside_success, shared,
                          first_at, last_at)
SELECT r.id, %(step)s, r.pattern, r.saga, r.blame, r.error, r.beside_success, false,
       clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r(id uuid, pattern uuid, saga uuid, blame text, error text, beside_success bool)
 ORDER BY r.id
ON CONFLICT (id) DO UPDATE
   SET error = EXCLUDED.error, last_at = clock_timestamp(),
       first_at = CASE WHEN f.last_at > clock_timestamp() - make_interval(secs => %(episode)s)
                       THEN f.first_at ELSE clock_timestamp() END,
       beside_success = EXCLUDED.beside_success
                        OR f.beside_success
                           AND f.last_at > clock_timestamp() - make_interval(secs => %(episode)s)
"""

# A statement of its own, so that it sees the rows of RECORD. Only `done` counts as a success: a
# refused row may have been given up. The newest inbox rows would not do, because a backlog of
# messages that wait writes inbox rows, and no outbox rows.
WEIGH = """
WITH sagas AS MATERIALIZED (
  SELECT saga FROM (SELECT saga, step FROM {outbox} ORDER BY id DESC LIMIT {read}) newest
   WHERE step = %(step)s
   UNION
  SELECT saga FROM {fault} WHERE step = %(step)s
), recent AS MATERIALIZED (
  SELECT i.state, i.error, i.updated_at
    FROM sagas JOIN {inbox} i ON i.saga = sagas.saga AND i.step = %(step)s
), success AS (
  SELECT COALESCE(max(updated_at), '-infinity') AS at FROM recent WHERE state = 'done'
), sample AS (
  SELECT count(*) FILTER (WHERE state <> 'done')::float8 / GREATEST(1, count(*)) AS failing
    FROM (SELECT state FROM recent
           WHERE state = 'done' OR state IN ('started', 'waiting', 'held') AND error <> ''
           ORDER BY updated_at DESC LIMIT {sample}) newest
)
SELECT f.pattern, count(*), count(*) FILTER (WHERE {is_new}),
       COALESCE(extract(epoch FROM clock_timestamp() - min(f.first_at) FILTER (WHERE {is_new})),
                0)::float8,
       extract(epoch FROM clock_timestamp() - min(f.first_at))::float8,
       min(sample.failing),
       EXISTS (SELECT 1 FROM {hold} h WHERE h.step = %(step)s AND h.automatic)
  FROM {fault} f, success, sample
 WHERE f.step = %(step)s AND f.pattern = ANY(%(patterns)s::uuid[])
 GROUP BY f.pattern
"""

IS_NEW = "NOT f.beside_success AND f.first_at > success.at"

MARK_SHARED = """
UPDATE {fault} SET shared = true WHERE id = ANY(ARRAY(
  SELECT id FROM {fault} WHERE id = ANY(%(ids)s::uuid[]) AND NOT shared ORDER BY id FOR UPDATE))
"""

AGE_AFTER_SUCCESS = """
UPDATE {fault} SET beside_success = true, shared = false WHERE id = ANY(ARRAY(
  SELECT id FROM {fault} WHERE step = ANY(%(steps)s::text[]) ORDER BY id FOR UPDATE))
"""

PURGE = """
DELETE FROM {fault} WHERE id = ANY(ARRAY(
  SELECT f.id FROM {fault} f
    JOIN (SELECT id, row_number() OVER (PARTITION BY step, pattern ORDER BY last_at DESC) AS n,
                 row_number() OVER (PARTITION BY step ORDER BY last_at DESC) AS of_step
            FROM {fault}) ranked USING (id)
   WHERE n > %(of_error)s OR of_step > %(of_step)s
      OR f.last_at < clock_timestamp() - make_interval(secs => %(kept)s)
   ORDER BY f.id FOR UPDATE OF f SKIP LOCKED))
"""


class FaultRow(msgspec.Struct, frozen=True, kw_only=True):
    """A failure of a step for one saga."""

    id: UUID
    pattern: UUID
    saga: UUID
    blame: str
    error: str
    beside_success: bool


class Evidence(NamedTuple):
    """The evidence about one error of a step.

    `sagas` met the error. `new_sagas` of them met it first after the step's last success, the first
    of these `quiet_seconds` ago. `seconds`: since the error was first met. `failing`: the share of
    the step's newest sagas that fail, with any error. `on_hold`: the step is on an automatic hold.
    """

    pattern: UUID
    sagas: int
    new_sagas: int
    quiet_seconds: float
    seconds: float
    failing: float
    on_hold: bool


def record(service: Service, step: str, rows: Iterable[FaultRow]) -> None:
    """Record failures of a step, inside the caller's transaction."""
    stored = [msgspec.to_builtins(row) for row in rows]
    params = {"step": step, "rows": sql.json_rows(stored), "episode": EPISODE_SECONDS}
    sql.run(service.alias, RECORD.format(fault=service.fault), params)


def weigh(service: Service, step: str, patterns: Iterable[UUID]) -> dict[UUID, Evidence]:
    """Return the evidence about some errors of a step, by pattern."""
    statement = WEIGH.format(
        fault=service.fault,
        inbox=service.inbox,
        outbox=service.outbox,
        hold=service.hold,
        read=READ,
        sample=SAMPLE,
        is_new=IS_NEW,
    )
    params = {"step": step, "patterns": sql.array_literal(patterns)}
    rows: list[tuple[Any, ...]] = sql.fetch(service.alias, statement, params)
    return {pattern: Evidence(pattern, *numbers) for pattern, *numbers in rows}


def mark_shared(service: Service, ids: Sequence[UUID]) -> None:
    """Mark failures as no fault of their sagas: operators see them as one incident."""
    statement = MARK_SHARED.format(fault=service.fault)
    sql.run(service.alias, statement, {"ids": sql.array_literal(ids)})


def age_after_success(service: Service, steps: Sequence[str]) -> None:
    """Note that these steps have succeeded: the sagas known so far are no sign of a fault now."""
    statement = AGE_AFTER_SUCCESS.format(fault=service.fault)
    sql.run(service.alias, statement, {"steps": sql.array_literal(steps)})


def purge(service: Service) -> int:
    """Delete old evidence, and all but the newest of each error and step; return the rows."""
    params = {"of_error": KEPT_OF_ERROR, "of_step": KEPT_OF_STEP, "kept": KEPT_SECONDS}
    return sql.run(service.alias, PURGE.format(fault=service.fault), params)
