"""Holds that the engine places by itself, because a step, or an outside system that it calls, is at
fault and not its sagas.

While such a hold is in force, one saga at a time tries the step (`sagas.storage.hold_probes`). The
homes of the waiting sagas keep copies of the hold.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from sagas import sql
from sagas.definition.hold_scope import HoldScope
from sagas.storage.registry import Service

__all__ = [
    "FIRST_PAUSE",
    "NEXT_AT_DESTINATION",
    "NEXT_AT_STEP",
    "OF_SERVICE",
    "STEP",
    "WAITS_AT_DESTINATION",
    "WAITS_AT_STEP",
    "AutomaticHold",
    "NotedHold",
    "homes",
    "in_force",
    "note_copies",
    "of_calls",
    "place",
]

# Seconds from the hold to its first probe.
FIRST_PAUSE = 1.0

# Rows of a held step that are read to find the homes of their sagas.
READ = 200

# Seconds for which a home's copy counts after the last message about it. So the sagas that go on
# within a minute of the release are not re-driven before.
COPY_SECONDS = 60.0

PLACE = """
INSERT INTO {hold} (step, calling_step, destination, since, by, why, automatic, probe_at)
VALUES (CASE WHEN %(destination)s = '' THEN %(step)s END,
        CASE WHEN %(destination)s <> '' THEN %(step)s END,
        %(destination)s, clock_timestamp(), '', %(why)s, true,
        clock_timestamp() + make_interval(secs => %(pause)s))
ON CONFLICT DO NOTHING
"""

OF_SERVICE = "h.automatic AND h.expires_at IS NULL"

# The step of a hold on a step, or on one of its destinations.
STEP = "COALESCE(h.step, h.calling_step)"

OF_CALLS = """
SELECT h.destination, CASE WHEN h.probed_at IS NOT NULL THEN h.probe END FROM {hold} h
 WHERE {of_service}
   AND (h.step = %(step)s
        OR h.calling_step = %(step)s AND (h.destination = ANY(%(destinations)s::text[])
                                          OR h.probe = ANY(%(sagas)s::uuid[])))
"""

IN_FORCE = """
SELECT {step}, h.destination FROM {hold} h WHERE {of_service} ORDER BY {step}, h.destination
"""

# True of a held row `i` that waits at the hold `h` of its step, or of its destination. Each has an
# index of its own, so a hold does not read the rows that wait at others. A hold has one of the two
# steps: PostgreSQL tests that first, and reads no row for the other one.
WAITS_AT_STEP = "h.step IS NOT NULL AND i.state = 'held' AND i.step = h.step"
WAITS_AT_DESTINATION = """h.calling_step IS NOT NULL AND i.state = 'held'
                      AND i.step = h.calling_step AND i.destination = h.destination"""

# The same for the rows behind the id `{after}`, in the order of the columns that are compared
# The comparison of two columns leaves the planner the indexes of held rows only. With `=` it may
# read the rows of all steps and states by the primary key instead, in search of the few that wait.
NEXT_AT_STEP = """h.step IS NOT NULL AND i.state = 'held'
                  AND (i.step, i.id) > (h.step, {after}) AND i.step <= h.step"""
NEXT_AT_DESTINATION = """h.calling_step IS NOT NULL AND i.state = 'held' AND i.step = h.calling_step
       AND (i.destination, i.id) > (h.destination, {after}) AND i.destination <= h.destination"""

# Seconds from the hold until the homes are told. Until then, the re-drive of a saga that tries the
# step is a further try, and a saga is re-driven too seldom to call for attention. A home that knows
# of a hold finds a lost message later than usual.
TOLD_AFTER = 120.0

# The homes of the first sagas that wait at each hold that has lasted for some time
# The home of a saga is the service of the step that aborts it.
HOMES = """
SELECT DISTINCT {step}, split_part(i.message -> 'plan' ->> 'abort', '.', 1)
  FROM {hold} h, LATERAL (
    (SELECT message FROM {inbox} i WHERE {first_at_step} ORDER BY i.step, i.id LIMIT {read})
     UNION ALL
    (SELECT message FROM {inbox} i WHERE {first_at_destination}
      ORDER BY i.destination, i.id LIMIT {read})) i
 WHERE {of_service} AND h.since <= clock_timestamp() - make_interval(secs => {told_after})
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
 WHERE automatic AND expires_at < clock_timestamp() - interval '1 hour'
"""


class AutomaticHold(NamedTuple):
    """A hold of a step; with a destination, of the calls to it. `probe` is the saga that tries the
    step, or tried it last. None if that saga waits at another destination since.
    """

    destination: str
    probe: UUID | None


class NotedHold(NamedTuple):
    """A step on an automatic hold, and the home of sagas that wait there."""

    step: str
    home: str


def place(service: Service, scope: HoldScope, *, why: str) -> bool:
    """Put a step or a destination on hold, inside the caller's transaction; return False if it is.

    A manual hold stays as it is.
    """
    params = {**scope._asdict(), "why": why, "pause": FIRST_PAUSE}
    return bool(sql.run(service.alias, PLACE.format(hold=service.hold), params))


def of_calls(service: Service, step: str, calls: Mapping[UUID, str]) -> list[AutomaticHold]:
    """Return the automatic holds of a step, of the destinations that sagas have called, and of the
    destinations that these sagas probe.
    """
    params = {
        "step": step,
        "destinations": sorted(set(calls.values())),
        "sagas": sql.array_literal(calls),
    }
    rows = sql.fetch(service.alias, _for(service, OF_CALLS), params)
    return [AutomaticHold(*row) for row in rows]


def in_force(service: Service) -> list[HoldScope]:
    """Return the scopes of the automatic holds in a service."""
    return _scopes(sql.fetch(service.alias, _for(service, IN_FORCE), {}))


def homes(service: Service) -> list[NotedHold]:
    """Return the steps on an automatic hold for `TOLD_AFTER` seconds or more, with the homes of the
    first sagas that wait there.

    A home learns of the step only, also if the hold is of a destination.
    """
    return [NotedHold(*row) for row in sql.fetch(service.alias, _for(service, HOMES), {})]


def note_copies(home: Service, steps: Sequence[str], *, why: str) -> None:
    """Keep copies of another service's automatic holds at a home, for `COPY_SECONDS`.

    A manual hold stays as it is. Copies that ended long ago are deleted.
    """
    params = {"steps": sorted(steps), "why": why, "seconds": COPY_SECONDS}
    if steps:
        sql.run(home.alias, NOTE_COPIES.format(hold=home.hold), params)
    sql.run(home.alias, DROP_COPIES.format(hold=home.hold), {})


def _scopes(rows: Iterable[tuple[str, str]]) -> list[HoldScope]:
    return [HoldScope(*row) for row in rows]


def _for(service: Service, statement: str) -> str:
    return statement.format(
        hold=service.hold,
        inbox=service.inbox,
        step=STEP,
        of_service=OF_SERVICE,
        first_at_step=NEXT_AT_STEP.format(after=0),
        first_at_destination=NEXT_AT_DESTINATION.format(after=0),
        read=READ,
        told_after=TOLD_AFTER,
    )
