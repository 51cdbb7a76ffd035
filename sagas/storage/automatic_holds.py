"""Holds that the engine places by itself, because a step is at fault and not its sagas.

While such a hold is in force, one saga at a time tries the step as a probe. CLAIM lets the probe
pass the hold (`sagas.storage.inbox_sql`). A manual hold is never released here.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sagas import backoff, sql
from sagas.storage.registry import Service

__all__ = [
    "NotedHold",
    "exists",
    "homes",
    "in_force",
    "note_copies",
    "place",
    "release_proven",
    "send_probes",
]

# Seconds between two probes of a step.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 5.0

# Rows of a held step that are read to find the homes of their sagas.
READ = 200

# Seconds for which a home's copy counts after the last message about it.
COPY_SECONDS = 60.0

PLACE = """
INSERT INTO {hold} (step, since, by, why, automatic, probe_at)
VALUES (%(step)s, clock_timestamp(), '', %(why)s, true,
        clock_timestamp() + make_interval(secs => %(pause)s))
ON CONFLICT DO NOTHING
"""

OF_SERVICE = "h.automatic AND h.expires_at IS NULL"

EXISTS = "SELECT 1 FROM {hold} h WHERE h.step = %(step)s AND {of_service}"

IN_FORCE = "SELECT h.step FROM {hold} h WHERE {of_service} ORDER BY h.step"

# Release what a probe has proven, or where no saga waits any more
# The step has answered the probe: it is done, it refused, or it waits as agreed, which sets the
# attempts to 0. A failed probe is `held` again. A person's completion proves nothing. Neither does
# a refusal by a cancel, which writes no event of the step.
RELEASE = """
DELETE FROM {hold} h
 WHERE {of_service}
   AND (EXISTS (SELECT 1 FROM {inbox} i
                 WHERE i.saga = h.probe AND i.step = h.step AND i.by_hand IS NULL
                   AND i.updated_at > h.probed_at
                   AND (i.state = 'done' OR i.state = 'refused' AND {has_event}
                        OR i.state = 'waiting' AND i.attempts = 0 AND i.due_at > i.updated_at))
        OR h.probe_at <= clock_timestamp()
           AND NOT EXISTS (SELECT 1 FROM {inbox} i WHERE i.state = 'held' AND i.step = h.step)
           AND NOT {in_flight})
RETURNING h.step
"""

IN_FLIGHT = """EXISTS (SELECT 1 FROM {inbox} i WHERE i.saga = h.probe AND i.step = h.step
                                     AND i.state IN ('started', 'waiting'))"""

# An event of the engine itself is no answer: it says that the saga waits.
HAS_EVENT = """EXISTS (SELECT 1 FROM {outbox} o
                        WHERE o.saga = i.saga AND o.step = i.step AND o.created_at > h.probed_at
                          AND o.type NOT LIKE 'saga.%%')"""

# Choose the next probes
# The held rows take turns in the order of their ids, so that one bad saga does not keep the hold.
# The lock on the hold makes it one probe at a time over all processes.
CHOOSE = """
WITH due AS MATERIALIZED (
  SELECT h.id, h.step,
         (SELECT p.id FROM {inbox} p WHERE p.saga = h.probe AND p.step = h.step) AS last
    FROM {hold} h
   WHERE {of_service} AND h.probe_at <= clock_timestamp() AND NOT {in_flight}
   ORDER BY h.id FOR UPDATE SKIP LOCKED
), chosen AS MATERIALIZED (
  SELECT d.id, d.step, COALESCE(
    (SELECT i.saga FROM {inbox} i
      WHERE i.state = 'held' AND i.step = d.step AND i.id > d.last AND {free}
      ORDER BY i.id LIMIT 1),
    (SELECT i.saga FROM {inbox} i
      WHERE i.state = 'held' AND i.step = d.step AND {free} ORDER BY i.id LIMIT 1)) AS saga
    FROM due d
), probed AS (
  UPDATE {hold} h
     SET probe = c.saga, probed_at = statement_timestamp(), probes = h.probes + 1,
         probe_at = clock_timestamp() + make_interval(secs => {pause})
    FROM chosen c WHERE h.id = c.id AND c.saga IS NOT NULL
)
UPDATE {inbox} i
   SET state = 'waiting', due_at = statement_timestamp(), send_at = statement_timestamp(),
       updated_at = statement_timestamp()
  FROM chosen c
 WHERE i.saga = c.saga AND i.step = c.step AND i.state = 'held'
RETURNING i.step, i.saga
"""

FREE = "NOT EXISTS (SELECT 1 FROM {hold} s WHERE s.saga = i.saga)"

HOMES = """
SELECT DISTINCT h.step, i.message -> 'plan' ->> 'home'
  FROM {hold} h, LATERAL (SELECT message FROM {inbox}
                           WHERE state = 'held' AND step = h.step ORDER BY id LIMIT {read}) i
 WHERE {of_service}
"""

NOTE_COPIES = """
INSERT INTO {hold} AS h (step, since, by, why, automatic, expires_at)
SELECT step, clock_timestamp(), '', %(why)s, true,
       clock_timestamp() + make_interval(secs => %(seconds)s)
  FROM unnest(%(steps)s::text[]) AS step
ON CONFLICT (step) DO UPDATE SET expires_at = EXCLUDED.expires_at
 WHERE h.automatic AND h.expires_at IS NOT NULL
"""

DROP_COPIES = """
DELETE FROM {hold}
 WHERE automatic AND expires_at IS NOT NULL
   AND (expires_at < clock_timestamp() - interval '1 hour'
        OR split_part(step, '.', 1) = %(service)s AND NOT step = ANY(%(steps)s::text[]))
"""


class NotedHold(NamedTuple):
    """A step on an automatic hold, and the home of sagas that wait there."""

    step: str
    home: str


def place(service: Service, step: str, *, why: str) -> bool:
    """Put a step on hold, inside the caller's transaction; return False if it is on hold."""
    params = {"step": step, "why": why, "pause": FIRST_PAUSE}
    return bool(sql.run(service.alias, PLACE.format(hold=service.hold), params))


def exists(service: Service, step: str) -> bool:
    """Return whether a step is on an automatic hold."""
    return bool(sql.fetch(service.alias, _for(service, EXISTS), {"step": step}))


def in_force(service: Service) -> list[str]:
    """Return the steps of a service that are on an automatic hold."""
    return [step for (step,) in sql.fetch(service.alias, _for(service, IN_FORCE), {})]


def release_proven(service: Service) -> list[str]:
    """Release the holds whose probe got an answer, and those where no saga waits.

    Return the steps.
    """
    return [step for (step,) in sql.fetch(service.alias, _for(service, RELEASE), {})]


def send_probes(service: Service) -> dict[str, UUID]:
    """Make the next probe of each step due; return the sagas by step. The relay sends them."""
    return dict(sql.fetch(service.alias, _for(service, CHOOSE), {}))


def homes(service: Service) -> list[NotedHold]:
    """Return the steps on an automatic hold, with the homes of the first sagas that wait there."""
    return [NotedHold(*row) for row in sql.fetch(service.alias, _for(service, HOMES), {})]


def note_copies(home: Service, service: str, steps: Sequence[str], *, why: str) -> None:
    """Keep copies of another service's automatic holds at a home, for `COPY_SECONDS`.

    Delete the copies of that service's other steps. A manual hold stays as it is.
    """
    params = {"steps": list(steps), "service": service, "why": why, "seconds": COPY_SECONDS}
    if steps:
        sql.run(home.alias, NOTE_COPIES.format(hold=home.hold), params)
    sql.run(home.alias, DROP_COPIES.format(hold=home.hold), params)


def _for(service: Service, statement: str) -> str:
    names = {"hold": service.hold, "inbox": service.inbox, "outbox": service.outbox}
    pause = backoff.exponential_sql(
        "h.probes + 1", first=str(FIRST_PAUSE), longest=str(LONGEST_PAUSE)
    )
    return statement.format(
        **names,
        of_service=OF_SERVICE,
        in_flight=IN_FLIGHT.format(**names),
        has_event=HAS_EVENT.format(**names),
        free=FREE.format(**names),
        pause=pause,
        read=READ,
    )
