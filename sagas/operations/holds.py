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

__all__ = ["BATCH_SIZE", "OF_SCOPE", "hold", "is_on_hold", "release", "resume", "resume_saga"]

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
                       WHERE i.state = 'held' AND {which}
                         AND NOT EXISTS (SELECT 1 FROM {hold} h WHERE h.step = i.step)
                         AND NOT EXISTS (SELECT 1 FROM {hold} h WHERE h.saga = i.saga)
                         AND NOT EXISTS (SELECT 1 FROM {hold} h
                                          WHERE h.calling_step = i.step
                                            AND h.destination = i.destination)
                       ORDER BY i.id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
"""

# True of a tracked saga `s` that is on hold, or waits at a step that is, or some of whose
# destinations are. The home has a copy of every hold on a step. It does not know the destination of
# a saga, but only a saga that is held there has told it of the step.
IS_ON_HOLD = """(EXISTS (SELECT 1 FROM {hold} h WHERE h.saga = s.id)
                 OR s.on_hold <> '' AND EXISTS (
                     SELECT 1 FROM {hold} h
                      WHERE s.on_hold IN (h.step, h.calling_step)
                        AND (h.expires_at IS NULL OR h.expires_at > clock_timestamp())))"""


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
    return IS_ON_HOLD.format(hold=home.hold)


def _make_due(service: Service, *, saga: UUID | None = None) -> int:
    which = "i.saga = %(saga)s" if saga else "true"
    statement = MAKE_DUE.format(inbox=service.inbox, hold=service.hold, which=which)
    return sql.run(service.alias, statement, {"saga": saga, "limit": BATCH_SIZE})
