"""Holds: one saga, or one step of all sagas, that does not run in a service until it is released.

A hold is a row in the service's own database, and every claim asks for it in its own statement
(`sagas.storage.inbox`): whatever the broker delivers, a step on hold keeps its message as a `held`
row, and no try is counted. What was claimed before runs to its end. Once the hold's row is gone,
whoever finds a held row that nothing holds makes it due: who has released it, and beat; so neither
a crash in between nor a claim that saw the hold a moment longer leaves one behind.
"""

from uuid import UUID

from sagas.delivery import queues, relay
from sagas.storage import sql
from sagas.storage.registry import Home, Service

__all__ = ["ROUND", "hold", "is_on_hold", "release", "send_on", "send_on_saga"]

# Rows that one round makes due, and messages in the service's queue above which none starts:
# seconds of work.
ROUND = 500
CONGESTED = 50

HOLD = """
INSERT INTO {hold} (saga, step, since, by, why)
VALUES (%(saga)s::uuid, %(step)s::text, clock_timestamp(), %(by)s, %(why)s) ON CONFLICT DO NOTHING
"""

RELEASE = "DELETE FROM {hold} WHERE saga = %(saga)s::uuid OR step = %(step)s::text"

SEND_ON = """
UPDATE {inbox} SET state = 'waiting', due_at = clock_timestamp(), send_at = clock_timestamp(),
                   updated_at = clock_timestamp()
 WHERE id = ANY(ARRAY(SELECT i.id FROM {inbox} i
                       WHERE i.state = 'held' AND {which}
                         AND NOT EXISTS (SELECT 1 FROM {hold} h WHERE h.step = i.step)
                         AND NOT EXISTS (SELECT 1 FROM {hold} h WHERE h.saga = i.saga)
                       ORDER BY i.id LIMIT %(round)s FOR UPDATE SKIP LOCKED))
"""

# Of a tracked saga `s`, by what its home knows: that it is on hold itself, or waits at a step that
# is.
IS_ON_HOLD = """(EXISTS (SELECT 1 FROM {hold} h WHERE h.saga = s.id)
                 OR s.on_hold <> '' AND EXISTS (SELECT 1 FROM {hold} h WHERE h.step = s.on_hold))"""


def hold(
    service: Service, *, saga: UUID | None = None, step: str | None = None, by: str, why: str
) -> bool:
    """Put a saga, or a step of all sagas, on hold in a service; return False where it is
    already.
    """
    params = {"saga": saga, "step": step, "by": by, "why": why}
    return bool(sql.run(service.alias, HOLD.format(hold=service.hold), params))


def release(service: Service, *, saga: UUID | None = None, step: str | None = None) -> bool:
    """Lift a hold; return False where there is none. What it held is sent on by `send_on`, or by
    beat.
    """
    return bool(
        sql.run(service.alias, RELEASE.format(hold=service.hold), {"saga": saga, "step": step})
    )


def send_on(service: Service) -> int:
    """Make held rows that nothing holds any more due, the oldest first and a bounded number, and
    send them.

    Return how many. None while the service's queue is long. Raises while the broker is down.
    """
    if queues.longest_length([service.name]) >= CONGESTED:
        return 0
    sent = _make_due(service)
    if sent:
        relay.flush(service)
    return sent


def send_on_saga(service: Service, saga: UUID) -> int:
    """Make the held rows of one saga due that nothing holds any more; return how many."""
    return _make_due(service, saga=saga)


def is_on_hold(home: Home) -> str:
    """Return the condition, in SQL, under which a tracked saga `s` of a home is on hold."""
    return IS_ON_HOLD.format(hold=home.hold)


def _make_due(service: Service, *, saga: UUID | None = None) -> int:
    which = "i.saga = %(saga)s" if saga else "true"
    statement = SEND_ON.format(inbox=service.inbox, hold=service.hold, which=which)
    return sql.run(service.alias, statement, {"saga": saga, "round": ROUND})
