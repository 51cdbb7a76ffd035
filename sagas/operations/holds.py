"""Holds: an operator stops one saga, one step of all sagas, or the calls of a step to one
destination, in a service until it is released. The engine places some holds on steps and
destinations by itself (`sagas.operations.probing`).

A hold is a row in the service's own database. Every claim checks it in its own statement
(`sagas.storage.inbox`): a step on hold keeps its message as a `held` row, and no attempt is
counted. A step that was claimed before the hold runs to its end. The destination of a message is
known later, once its request is prepared (`sagas.execution.held_calls`).

After the release, held rows must be made due. The releasing process does it, and beat repeats it.
So a crash in between leaves no row behind. Beat also finds rows that a claim wrote as held just
after the release.
"""

from uuid import UUID

from sagas import sql
from sagas.delivery import queues, relay
from sagas.storage.registry import Home, Service

__all__ = [
    "BATCH_SIZE",
    "OF_SCOPE",
    "free_values",
    "has_own_hold",
    "hold",
    "is_on_hold",
    "release",
    "resume",
    "resume_saga",
]

# The most rows that are made due at once: seconds of work.
BATCH_SIZE = 500

# With this many messages in the service's queue, no more rows are made due.
MAX_QUEUE_LENGTH = 50

HOLD_SAGA = """
INSERT INTO {hold} (saga, since, by, why)
VALUES (%(saga)s::uuid, clock_timestamp(), %(by)s, %(why)s) ON CONFLICT DO NOTHING
"""

# An operator's hold replaces an automatic one, which then is not released automatically any more.
HOLD_STEP = """
INSERT INTO {hold} AS h (step, since, by, why)
VALUES (%(step)s, clock_timestamp(), %(by)s, %(why)s)
ON CONFLICT (step) DO UPDATE
   SET since = EXCLUDED.since, by = EXCLUDED.by, why = EXCLUDED.why, automatic = false,
       expires_at = NULL, probe = NULL
 WHERE h.automatic
"""

HOLD_DESTINATION = """
INSERT INTO {hold} AS h (calling_step, destination, since, by, why)
VALUES (%(step)s, %(destination)s, clock_timestamp(), %(by)s, %(why)s)
ON CONFLICT (calling_step, destination) DO UPDATE
   SET since = EXCLUDED.since, by = EXCLUDED.by, why = EXCLUDED.why, automatic = false,
       expires_at = NULL, probe = NULL
 WHERE h.automatic
"""

RELEASE = """
DELETE FROM {hold}
 WHERE saga = %(saga)s::uuid OR step = %(step)s::text AND %(destination)s = ''
    OR calling_step = %(step)s::text AND destination = %(destination)s
"""

# True of the hold of a scope: of a step, or of its calls to a destination.
OF_SCOPE = "COALESCE(step, calling_step) = %(step)s AND destination = %(destination)s"

MAKE_DUE = """
UPDATE {inbox} SET state = 'waiting', due_at = clock_timestamp(), send_at = clock_timestamp(),
                   updated_at = clock_timestamp()
 WHERE id = ANY(ARRAY(SELECT i.id FROM {inbox} i
                       WHERE i.id = ANY(ARRAY({free})) AND i.state = 'held'
                       ORDER BY i.id FOR UPDATE SKIP LOCKED))
"""

# The held rows of one saga that no hold covers
FREE_ROWS_OF_SAGA = """
SELECT i.id FROM {inbox} i
 WHERE i.state = 'held' AND i.saga = %(saga)s
   AND NOT EXISTS (SELECT 1 FROM {hold} h WHERE h.step = i.step)
   AND NOT EXISTS (SELECT 1 FROM {hold} h WHERE h.saga = i.saga)
   AND NOT EXISTS (SELECT 1 FROM {hold} h
                    WHERE h.calling_step = i.step AND h.destination = i.destination)
"""

# The oldest held rows that no hold covers
# The rows that a hold covers may be very many, and stay. So the statement goes from one step with
# held rows to the next through an index, and passes by a step on hold in one look-up. Where
# destinations of a step are on hold, it goes from one destination with held rows to the next.
# `step` has a lower and an upper limit, because with `=` the planner may read the rows of all steps
# and states in the order of their ids instead.
FREE_ROWS = """
WITH RECURSIVE steps AS (
  (SELECT i.step FROM {inbox} i WHERE i.state = 'held' ORDER BY i.step, i.id LIMIT 1)
   UNION ALL
  SELECT i.step
    FROM steps s, LATERAL (SELECT i.step FROM {inbox} i
                            WHERE i.state = 'held' AND i.step > s.step
                            ORDER BY i.step, i.id LIMIT 1) i
), free_steps AS MATERIALIZED (
  SELECT s.step,
         EXISTS (SELECT 1 FROM {hold} h WHERE h.calling_step = s.step) AS by_destination
    FROM steps s
   WHERE NOT EXISTS (SELECT 1 FROM {hold} h WHERE h.step = s.step)
), places AS (
  SELECT s.step, i.destination
    FROM free_steps s, LATERAL (SELECT i.destination FROM {inbox} i
                                 WHERE i.state = 'held' AND i.step = s.step
                                 ORDER BY i.destination, i.id LIMIT 1) i
   WHERE s.by_destination
   UNION ALL
  SELECT p.step, i.destination
    FROM places p, LATERAL (SELECT i.destination FROM {inbox} i
                             WHERE i.state = 'held' AND i.step = p.step
                               AND i.destination > p.destination
                             ORDER BY i.destination, i.id LIMIT 1) i
), free_places AS MATERIALIZED (
  SELECT p.step, p.destination
    FROM places p, LATERAL (SELECT i.id FROM {inbox} i
                             WHERE i.state = 'held' AND i.step = p.step
                               AND i.destination >= p.destination
                               AND i.destination <= p.destination AND {no_saga_hold}
                             ORDER BY i.destination, i.id LIMIT 1) i
   WHERE NOT EXISTS (SELECT 1 FROM {hold} h
                      WHERE h.calling_step = p.step AND h.destination = p.destination)
   ORDER BY i.id LIMIT %(limit)s
)
SELECT i.id
  FROM free_steps s, LATERAL (SELECT i.id FROM {inbox} i
                               WHERE i.state = 'held' AND i.step >= s.step AND i.step <= s.step
                                 AND {no_saga_hold}
                               ORDER BY i.step, i.id LIMIT %(limit)s) i
 WHERE NOT s.by_destination
 UNION ALL
SELECT i.id
  FROM free_places p, LATERAL (SELECT i.id FROM {inbox} i
                                WHERE i.state = 'held' AND i.step = p.step
                                  AND i.destination >= p.destination
                                  AND i.destination <= p.destination AND {no_saga_hold}
                                ORDER BY i.destination, i.id LIMIT %(limit)s) i
 ORDER BY id LIMIT %(limit)s
"""

NO_SAGA_HOLD = "NOT EXISTS (SELECT 1 FROM {hold} h WHERE h.saga = i.saga)"

# The sagas that an operator has put on hold, and the steps on hold as a home knows them, whole or
# in part. Each list is read once for a statement, and not once for each saga.
SAGAS_ON_HOLD = "SELECT h.saga FROM {hold} h WHERE h.saga IS NOT NULL"
STEPS_ON_HOLD = """SELECT COALESCE(h.step, h.calling_step) FROM {hold} h
          WHERE h.saga IS NULL AND (h.expires_at IS NULL OR h.expires_at > clock_timestamp())"""

# True of a tracked saga `s` that is on hold, or waits at a step that is, or some of whose
# destinations are. The home has a copy of every hold on a step. It does not know the destination of
# a saga, but only a saga that is held there has told it of the step.
IS_ON_HOLD = """(s.id IN ({sagas_on_hold})
     OR s.on_hold <> '' AND s.on_hold IN ({steps_on_hold}))"""

# As common table expressions: `free` has the values of `on_hold` of the open sagas in a table,
# except the steps on hold
# The sagas that wait at a hold may be very many. So the expression goes from one value to the next
# through an index.
FREE_VALUES = """vals AS (
  (SELECT s.on_hold FROM {tracked} s WHERE s.ended_at IS NULL
    ORDER BY s.on_hold, s.rescue_at LIMIT 1)
   UNION ALL
  SELECT s.on_hold
    FROM vals v, LATERAL (SELECT s.on_hold FROM {tracked} s
                           WHERE s.ended_at IS NULL AND s.on_hold > v.on_hold
                           ORDER BY s.on_hold, s.rescue_at LIMIT 1) s
), free AS MATERIALIZED (
  SELECT v.on_hold FROM vals v WHERE v.on_hold = '' OR v.on_hold NOT IN ({steps_on_hold})
)"""


def hold(
    service: Service,
    *,
    saga: UUID | None = None,
    step: str | None = None,
    destination: str = "",
    by: str,
    why: str,
) -> bool:
    """Put a saga, or a step of all sagas, on hold in a service. Replace an automatic hold.

    With a destination, only the calls of the step to it. Return False if an operator has put it on
    hold already.
    """
    statement = HOLD_SAGA if saga else HOLD_DESTINATION if destination else HOLD_STEP
    params = {"saga": saga, "step": step, "destination": destination, "by": by, "why": why}
    return bool(sql.run(service.alias, statement.format(hold=service.hold), params))


def release(
    service: Service,
    *,
    saga: UUID | None = None,
    step: str | None = None,
    destination: str = "",
) -> bool:
    """Remove a hold; return False if there is none. `resume` makes the held rows due.

    A hold of a whole step and the holds of its destinations are released one by one.
    """
    statement = RELEASE.format(hold=service.hold)
    params = {"saga": saga, "step": step, "destination": destination}
    return bool(sql.run(service.alias, statement, params))


def resume(service: Service) -> int:
    """Make held rows without a hold due, at most `BATCH_SIZE` and the oldest first; publish them.

    Return the number of rows; 0 while the service's queue is long. Raises while the broker is down.
    """
    if queues.longest_length([service.name]) >= MAX_QUEUE_LENGTH:
        return 0

    rows = _make_due(service)
    if rows:
        relay.flush(service)
    return rows


def resume_saga(service: Service, saga: UUID) -> int:
    """Make the held rows of one saga due if no hold remains; return the number of rows."""
    return _make_due(service, saga=saga)


def is_on_hold(home: Home) -> str:
    """Return the SQL condition under which a tracked saga `s` of a home is on hold."""
    return _of_home(home, IS_ON_HOLD)


def free_values(home: Home, table: str) -> str:
    """Return SQL expressions for a `WITH RECURSIVE`. Their last one, `free`, has the values of
    `on_hold` of the open sagas in a table, except the steps on hold.
    """
    return _of_home(home, FREE_VALUES, tracked=table)


def has_own_hold(home: Home) -> str:
    """Return the SQL condition under which a tracked saga `s` of a home has a hold of its own."""
    return _of_home(home, "s.id IN ({sagas_on_hold})")


def _of_home(home: Home, expression: str, **names: str) -> str:
    return expression.format(
        sagas_on_hold=SAGAS_ON_HOLD.format(hold=home.hold),
        steps_on_hold=STEPS_ON_HOLD.format(hold=home.hold),
        **names,
    )


def _make_due(service: Service, *, saga: UUID | None = None) -> int:
    free = FREE_ROWS_OF_SAGA if saga else FREE_ROWS
    names = {"inbox": service.inbox, "hold": service.hold}
    no_saga_hold = NO_SAGA_HOLD.format(**names)
    statement = MAKE_DUE.format(free=free.format(no_saga_hold=no_saga_hold, **names), **names)
    return sql.run(service.alias, statement, {"saga": saga, "limit": BATCH_SIZE})
