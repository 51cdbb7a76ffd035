"""Probes of automatic holds: one saga at a time tries a step, or a destination, that is on hold.

CLAIM lets the probe pass the hold (`sagas.storage.inbox_sql`). The first answer releases it. A
manual hold is never released here.
"""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from sagas import backoff, sql
from sagas.definition.hold_scope import HoldScope
from sagas.storage import inbox
from sagas.storage.automatic_holds import (
    FIRST_PAUSE,
    NEXT_AT_DESTINATION,
    NEXT_AT_STEP,
    OF_SERVICE,
    STEP,
)
from sagas.storage.registry import Service

__all__ = ["Released", "begin_calls", "end_probes", "release_proven", "send_probes"]

# The longest pause between two probes of a hold, in seconds.
LONGEST_PAUSE = 5.0

# No id of a row is larger.
LAST_ID = 2**63 - 1

# The most held rows that are read from one place on, to find one that may be tried. If none of them
# may, because calls to their destinations are under way, the hold gets no probe in this round. Rows
# with a hold of their own do not count: they stay, and would keep the others from their turn.
MOST_READ = 1_000

# Choose the next probes
# The held rows take turns in the order of their ids, so that one bad saga does not keep the hold.
# The lock on the hold makes it one probe at a time over all processes. While the whole step is on
# hold, no destination is probed, because its probe could not pass. The step is not probed while the
# probe of a destination is in flight, because both might call it.
# If some destinations are on hold too, `MIXED` chooses the probe of the step.
# The statement waits for no lock. A row that is locked is being claimed or answered, and its
# transaction may need the hold next. So that hold gets no probe in this round.
CHOOSE = """
WITH due AS MATERIALIZED (
  SELECT h.id, h.step, h.calling_step, h.destination, h.probes,
         h.step IS NOT NULL
         AND EXISTS (SELECT 1 FROM {hold} d WHERE d.calling_step = h.step) AS is_mixed,
         (SELECT p.id FROM {inbox} p WHERE p.saga = h.probe AND p.step = {step}) AS last
    FROM {hold} h
   WHERE {of_service} AND h.probe_at <= clock_timestamp() AND NOT {in_flight}
     AND NOT EXISTS (SELECT 1 FROM {hold} s WHERE s.step = h.calling_step)
     AND NOT EXISTS (SELECT 1 FROM {hold} s
                      WHERE s.calling_step = h.step AND s.probed_at IS NOT NULL
                        AND (SELECT {is_under_way} FROM {inbox} i
                              WHERE i.saga = s.probe AND i.step = s.calling_step))
   ORDER BY h.id FOR UPDATE SKIP LOCKED
), {starts}, chosen AS MATERIALIZED (
  SELECT h.id, {step} AS step, h.destination, CASE WHEN h.is_mixed THEN ({mixed})
  ELSE COALESCE(
    (SELECT i.saga FROM ({next_at_step}) i WHERE {free} ORDER BY i.step, i.id LIMIT 1),
    (SELECT i.saga FROM ({first_at_step}) i WHERE {free} ORDER BY i.step, i.id LIMIT 1),
    (SELECT i.saga FROM ({next_at_destination}) i WHERE {free}
      ORDER BY i.destination, i.id LIMIT 1),
    (SELECT i.saga FROM ({first_at_destination}) i WHERE {free}
      ORDER BY i.destination, i.id LIMIT 1))
  END AS saga
    FROM due h
), locked AS MATERIALIZED (
  SELECT c.id AS hold, c.destination, i.id, i.saga
    FROM chosen c JOIN {inbox} i ON i.saga = c.saga AND i.step = c.step
   WHERE i.state = 'held'
   ORDER BY i.saga FOR UPDATE OF i SKIP LOCKED
), probed AS (
  UPDATE {hold} h
     SET probe = l.saga, probed_at = statement_timestamp(), probes = h.probes + 1,
         probe_at = clock_timestamp() + make_interval(secs => {pause})
    FROM locked l WHERE h.id = l.hold
)
UPDATE {inbox} i
   SET state = 'waiting', due_at = statement_timestamp(), send_at = statement_timestamp(),
       updated_at = statement_timestamp()
  FROM locked l
 WHERE i.id = l.id
RETURNING i.step, l.destination, i.saga
"""

# Where rows are read, if a step and some of its destinations are on hold
# The destinations on hold divide the held rows of the step, in the order of destination and id,
# into ranges: the rows at each of them, and the rows between them. The first rows of each range are
# read, and the rows behind one that is chosen at random, so that each row has its turn some day.
STARTS = """held AS MATERIALIZED (
  SELECT h.id AS hold, h.step, d.destination AS last_destination, i.destination, i.id AS row_id
    FROM due h,
         LATERAL (SELECT i.id FROM {inbox} i WHERE {first_at_step}
                   ORDER BY i.step, i.id LIMIT 1) f,
         LATERAL (SELECT i.id FROM {inbox} i WHERE {first_at_step}
                   ORDER BY i.step DESC, i.id DESC LIMIT 1) l,
         LATERAL (SELECT f.id - 1 + floor(random() * (l.id - f.id + 1))::bigint AS id) r,
         LATERAL (SELECT i.destination, i.id FROM {inbox} i WHERE {behind_random}
                   ORDER BY i.step, i.id LIMIT 1) i,
         LATERAL (SELECT i.destination FROM {inbox} i WHERE i.state = 'held' AND i.step = h.step
                   ORDER BY i.destination DESC, i.id DESC LIMIT 1) d
   WHERE h.is_mixed
), bounds AS (
  SELECT hold, step, last_destination, '' AS destination, 0 AS row_id FROM held
   UNION ALL
  SELECT r.hold, r.step, r.last_destination, d.destination, d.row_id
    FROM held r, LATERAL (SELECT d.destination, b.row_id
                            FROM {hold} d, (VALUES (0), ({last_id})) b(row_id)
                           WHERE d.calling_step = r.step ORDER BY d.id LIMIT {most}) d
), ranges AS (
  SELECT hold, step, destination, row_id, count(*) OVER (PARTITION BY hold) AS ranges,
         COALESCE(lead(destination) OVER behind, last_destination) AS last_destination,
         COALESCE(lead(row_id) OVER behind, {last_id}) AS last_row_id
    FROM bounds WINDOW behind AS (PARTITION BY hold ORDER BY destination, row_id)
), starts AS MATERIALIZED (
  SELECT hold, step, destination, row_id, ranges, last_destination, last_row_id FROM ranges
   UNION ALL
  SELECT r.hold, r.step, p.destination, p.row_id, r.ranges, r.last_destination, r.last_row_id
    FROM ranges r JOIN held p ON p.hold = r.hold
     AND (p.destination, p.row_id) > (r.destination, r.row_id)
     AND (p.destination, p.row_id) <= (r.last_destination, r.last_row_id)
)"""

# The probe of a step `h`, if some destinations are on hold too
# Two of three probes of the step go to other destinations, because a destination that is on hold
# most likely stays silent. The third does not, so that one bad saga elsewhere does not keep the
# hold. These probes take turns by the time of their last try.
MIXED = """
    SELECT i.saga
      FROM starts r, LATERAL (
        SELECT i.id, i.saga, i.step, i.destination, i.updated_at FROM {inbox} i
         WHERE i.state = 'held' AND i.step = r.step
           AND (i.destination, i.id) > (r.destination, r.row_id)
           AND (i.destination, i.id) <= (r.last_destination, r.last_row_id)
           AND {no_own_hold}
         ORDER BY i.destination, i.id LIMIT 1 + {most} / r.ranges) i
     WHERE r.hold = h.id AND {free}
     ORDER BY EXISTS (SELECT 1 FROM {hold} d WHERE d.calling_step = i.step
                                               AND d.destination = i.destination)
              = (mod(h.probes, 3) < 2), i.updated_at, i.id LIMIT 1"""

# The first rows that wait at a hold `h`
ONE_AT_STEP = "SELECT i.id FROM {inbox} i WHERE {at_step} ORDER BY i.step, i.id LIMIT 1"
ONE_AT_DESTINATION = """SELECT i.id FROM {inbox} i WHERE {at_destination}
                         ORDER BY i.destination, i.id LIMIT 1"""

# The first of these rows whose sagas have no hold of their own
AT_STEP = """SELECT i.id, i.saga, i.step, i.destination FROM {inbox} i
              WHERE {at_step} AND {no_own_hold} ORDER BY i.step, i.id LIMIT {most}"""
AT_DESTINATION = """SELECT i.id, i.saga, i.step, i.destination FROM {inbox} i
                     WHERE {at_destination} AND {no_own_hold}
                     ORDER BY i.destination, i.id LIMIT {most}"""

# An operator's hold lets no probe pass. A probe waits for the end of a call to its destination that
# began before, for example as the probe of a hold that an operator has released since. Each call
# has a database session: its condition lets the planner use the index of started rows, which stays
# short during a backlog.
FREE = """NOT EXISTS (SELECT 1 FROM {hold} s
                   WHERE s.calling_step = i.step AND s.destination = i.destination
                     AND NOT s.automatic)
      AND NOT EXISTS (SELECT 1 FROM {inbox} s
                       WHERE s.step = i.step AND s.state = 'started' AND s.session_pid IS NOT NULL
                         AND s.destination = i.destination AND s.destination <> '')"""

# The sagas on hold are read once for a statement, and not once for each row.
NO_OWN_HOLD = "i.saga NOT IN (SELECT s.saga FROM {hold} s WHERE s.saga IS NOT NULL)"

# Begin the calls of probes
# A probe may call a destination that is on hold. Its row keeps the destination, so that no other
# probe calls there at once, also if an operator releases the hold that lets it pass. The lock makes
# such a release wait for the end of this transaction.
BEGIN_CALLS = """
WITH r AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset(%(calls)s::jsonb) AS r(saga uuid, destination text)
), passing AS MATERIALIZED (
  SELECT h.probe AS saga FROM {hold} h JOIN r ON r.saga = h.probe
   WHERE h.automatic AND h.probed_at IS NOT NULL
     AND (h.step = %(step)s OR h.calling_step = %(step)s AND h.destination = r.destination)
   ORDER BY h.id FOR KEY SHARE OF h
)
UPDATE {inbox} i SET destination = r.destination
  FROM r
 WHERE i.saga = r.saga AND i.step = %(step)s AND r.saga IN (SELECT saga FROM passing)
   AND NOT EXISTS (SELECT 1 FROM {inbox} s
                    WHERE s.step = %(step)s AND s.state = 'started' AND s.session_pid IS NOT NULL
                      AND s.destination = r.destination AND s.saga <> r.saga)
RETURNING i.saga
"""

# End probes
# A probe that waits at another destination tries the first one no more. The hold keeps it as the
# place in the turn, without a time.
END_PROBES = """
UPDATE {hold} SET probed_at = NULL WHERE id = ANY(ARRAY(
  SELECT h.id FROM {hold} h
    JOIN jsonb_to_recordset(%(moved)s::jsonb) AS r(saga uuid, destination text)
      ON r.saga = h.probe AND r.destination <> h.destination
    CROSS JOIN set_config('lock_timeout', %(lock_wait)s, true)
   WHERE h.calling_step = %(step)s AND h.automatic
   ORDER BY h.id FOR UPDATE OF h))
"""

# Release what a probe has proven, or where no saga waits any more
# The step has answered the probe: it is done, it refused, or it waits as agreed, which sets the
# attempts to 0. A failed probe is `held` again. A person's completion proves nothing. Neither does
# a refusal by a cancel, which writes no event of the step.
# The answer releases the hold that the probe has tried, whichever destination it came from: a
# domain may have moved the saga to another one.
# A hold that another transaction has locked is released in a later round.
RELEASE = """
DELETE FROM {hold} h
 WHERE id = ANY(ARRAY(
   SELECT h.id FROM {hold} h
    WHERE {of_service}
      AND ({answer} IS NOT NULL
           OR h.probe_at <= clock_timestamp()
              AND ({one_at_step}) IS NULL AND ({one_at_destination}) IS NULL
              AND NOT {in_flight})
    ORDER BY h.id FOR UPDATE OF h SKIP LOCKED))
RETURNING {step}, h.destination, {answer}
"""

# The destination that has answered the probe of a hold `h`: empty for an answer without one, and
# null without an answer.
ANSWER = """(SELECT i.destination FROM {inbox} i
              WHERE i.saga = h.probe AND i.step = {step} AND i.by_hand IS NULL
                AND i.updated_at > h.probed_at
                AND (i.state = 'done' OR i.state = 'refused' AND {has_event}
                     OR i.state = 'waiting' AND i.attempts = 0 AND i.due_at > i.updated_at))"""

# The state of a probe's row is looked up by its saga. As a condition on the row, it would let the
# planner read all open rows instead.
IN_FLIGHT = """(h.probed_at IS NOT NULL
   AND COALESCE((SELECT {is_under_way} FROM {inbox} i
                  WHERE i.saga = h.probe AND i.step = {step}), false))"""

# True of the row `i` of a probe that is sent or runs. A parked row is never sent again, because its
# message cannot be read. So its hold needs another probe.
IS_UNDER_WAY = "(i.state = 'started' OR i.state = 'waiting' AND i.send_at IS NOT NULL)"

# An event of the engine itself is no answer: it says that the saga waits.
HAS_EVENT = """EXISTS (SELECT 1 FROM {outbox} o
                        WHERE o.saga = i.saga AND o.step = i.step AND o.created_at > h.probed_at
                          AND o.type NOT LIKE 'saga.%%')"""


class Released(NamedTuple):
    """The scope of a hold that is released.

    `answer`: the destination that has answered the probe, empty if the answer came without one.
    None if there was no answer, because no saga waits any more.
    """

    scope: HoldScope
    answer: str | None

    @property
    def proven(self) -> list[HoldScope]:
        """The scopes that the answer proves to work. The answer at one destination proves nothing
        about another one. An empty hold of a step is no sign of a fault any more.
        """
        step, destination = self.scope
        if destination:
            return [self.scope] if destination == self.answer else []
        return [self.scope, HoldScope(step, self.answer)] if self.answer else [self.scope]


def send_probes(service: Service) -> dict[HoldScope, UUID]:
    """Make the next probe of each hold due; return the sagas. The relay sends them."""
    rows = sql.fetch(service.alias, _for(service, CHOOSE), {})
    return {HoldScope(step, destination): saga for step, destination, saga in rows}


def begin_calls(service: Service, step: str, calls: Mapping[UUID, str]) -> set[UUID]:
    """Note the destination on hold that each probe calls; return the sagas that may call.

    Runs inside the transaction of their claim. A saga may not call if its hold is released since
    the claim, or while another saga calls there that was a probe before.
    """
    rows = [{"saga": saga, "destination": destination} for saga, destination in calls.items()]
    statement = BEGIN_CALLS.format(hold=service.hold, inbox=service.inbox)
    found = sql.fetch(service.alias, statement, {"step": step, "calls": sql.json_rows(rows)})
    return {saga for (saga,) in found}


def end_probes(service: Service, step: str, moved: Mapping[UUID, str]) -> None:
    """End the probes of a step's destinations by these sagas, because they wait at another one.

    `moved`: the destination at which each saga waits. Call it before the rows of the sagas are
    locked, or while their probes are in flight, because probes are chosen in this order of locks.
    Each statement of the transaction waits for a lock at most `inbox.LOCK_WAIT_MS` from here on.
    """
    rows = [{"saga": saga, "destination": destination} for saga, destination in moved.items()]
    params = {
        "step": step,
        "moved": sql.json_rows(rows),
        "lock_wait": f"{inbox.LOCK_WAIT_MS}ms",
    }
    sql.run(service.alias, END_PROBES.format(hold=service.hold), params)


def release_proven(service: Service) -> list[Released]:
    """Release the holds whose probe got an answer, and those where no saga waits."""
    rows = sql.fetch(service.alias, _for(service, RELEASE), {})
    return [Released(HoldScope(step, name), answer) for step, name, answer in rows]


def _for(service: Service, statement: str) -> str:
    names = {"hold": service.hold, "inbox": service.inbox, "outbox": service.outbox}
    pause = backoff.exponential_sql(
        "h.probes + 1", first=str(FIRST_PAUSE), longest=str(LONGEST_PAUSE)
    )
    free = FREE.format(**names)
    no_own_hold = NO_OWN_HOLD.format(**names)
    first_at_step = NEXT_AT_STEP.format(after=0)
    first_at_destination = NEXT_AT_DESTINATION.format(after=0)
    rows = {"most": MOST_READ, "no_own_hold": no_own_hold, **names}
    return statement.format(
        **names,
        step=STEP,
        of_service=OF_SERVICE,
        one_at_step=ONE_AT_STEP.format(at_step=first_at_step, **names),
        one_at_destination=ONE_AT_DESTINATION.format(at_destination=first_at_destination, **names),
        in_flight=IN_FLIGHT.format(step=STEP, is_under_way=IS_UNDER_WAY, **names),
        is_under_way=IS_UNDER_WAY,
        answer=ANSWER.format(step=STEP, has_event=HAS_EVENT.format(**names), **names),
        free=free,
        pause=pause,
        starts=STARTS.format(
            first_at_step=first_at_step,
            behind_random=NEXT_AT_STEP.format(after="r.id"),
            most=MOST_READ,
            last_id=LAST_ID,
            **names,
        ),
        mixed=MIXED.format(free=free, **rows),
        next_at_step=AT_STEP.format(at_step=NEXT_AT_STEP.format(after="h.last"), **rows),
        first_at_step=AT_STEP.format(at_step=first_at_step, **rows),
        next_at_destination=AT_DESTINATION.format(
            at_destination=NEXT_AT_DESTINATION.format(after="h.last"), **rows
        ),
        first_at_destination=AT_DESTINATION.format(at_destination=first_at_destination, **rows),
    )
