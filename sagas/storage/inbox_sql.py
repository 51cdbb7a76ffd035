"""Every statement on the inbox, on one page.

Each statement that touches several rows locks them in the order of their saga, so that overlapping
batches do not deadlock. Undo rows are locked before action rows (see `sagas.execution.runner`).
The names in braces are filled in by `for_service`.
"""

from functools import cache

from sagas.storage import sql
from sagas.storage.registry import Service

__all__ = ["for_service"]

# An inbox has one row for each saga and step. The result of a message depends on the row it finds:
#
# Row found            | Step message    | … on hold | Undo, cancel | Answer of an  | Failure
#                      |                 |           |              | external call | report
#                      | CLAIM           | CLAIM     | BAR          | LOCK_OPEN     | COUNT_FAILURES
# ---------------------+-----------------+-----------+--------------+---------------+---------------
# none                 | started or done | held      | refused      | discarded     | waiting
# none, saga purged    | parked          | parked    | refused      | discarded     | ignored
# started, leased      | ignored         | ignored   | refused *    | recorded      | waiting **
# started, lease over  | started or done | held      | refused *    | recorded      | waiting **
# waiting, not due     | ignored         | ignored   | refused *    | recorded      | waiting **
# waiting, due         | started or done | held      | refused *    | recorded      | waiting **
# waiting, parked      | ignored         | ignored   | refused *    | recorded      | ignored
# held                 | started or done | ignored   | refused *    | recorded      | ignored
# done or refused      | ignored         | ignored   | ignored      | discarded     | ignored
#
# *   BAR_UNSTARTED leaves an open row as it is.
# **  Only if the row has counted exactly the attempts before the reported one; else ignored.
#
# CLAIM writes `done` where the step commits in the same transaction. It writes `started` where the
# transaction only prepares an external call. `done` and `refused` are final, other states are open.
#
# Two columns hold times. From `due_at` on, a step message may take over an open row. From `send_at`
# on, the relay sends the row's stored message again; null means never.

# --- Messages that arrive -------------------------------------------------------------------------

# Condition: the saga of message `m` is not purged
# A step of a purged saga may be done already, and nothing here remembers it. So it must not run.
NOT_PURGED = """NOT EXISTS (
  SELECT 1 FROM {watermark} w WHERE m.started_at < w.before AND NOT m.saga = ANY(w.kept))"""

# Claim a step
# Insert the row of each message, or take over an open row that is due. The row of a message on hold
# becomes `held`: no attempt is counted, and the relay does not send it.
CLAIM = """
WITH m AS MATERIALIZED (
  SELECT m.saga, m.started_at, m.stored,
         EXISTS (SELECT 1 FROM {hold} h WHERE h.step = %(step)s)
         OR EXISTS (SELECT 1 FROM {hold} h WHERE h.saga = m.saga) AS held
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS m(saga uuid, started_at timestamptz, stored jsonb)
)
INSERT INTO {inbox} AS i (saga, saga_started_at, step, state, attempts, error, due_at, send_at,
                          message, created_at, updated_at)
SELECT m.saga, m.started_at, %(step)s,
       CASE WHEN m.held THEN 'held' ELSE %(state)s END,
       CASE WHEN m.held THEN 0 ELSE 1 END, '', {lease_end},
       CASE WHEN %(open)s AND NOT m.held THEN {lease_end} END,
       m.stored, clock_timestamp(), clock_timestamp()
  FROM m
 WHERE {not_purged}
 ORDER BY m.saga
ON CONFLICT (saga, step) DO UPDATE
   SET state = EXCLUDED.state, attempts = i.attempts + EXCLUDED.attempts,
       due_at = EXCLUDED.due_at, send_at = EXCLUDED.send_at, message = EXCLUDED.message,
       updated_at = clock_timestamp()
 WHERE i.state IN ('started', 'waiting') AND i.due_at <= clock_timestamp()
    OR i.state = 'held' AND EXCLUDED.state <> 'held'
RETURNING saga, attempts, state = 'held'
"""

# Find purged sagas
# CLAIM returns no row for a duplicate, nor for a message of a purged saga. This statement returns
# the purged sagas only.
PURGED = """
SELECT m.saga
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS m(saga uuid, started_at timestamptz)
 WHERE NOT {not_purged}
"""

# Park messages
# Keep a message that must not run, so that an operator sees it. The year 9999 means that no
# delivery takes over the row.
PARK = """
INSERT INTO {inbox} (saga, saga_started_at, step, state, attempts, error, due_at, message,
                     created_at, updated_at)
SELECT m.saga, m.started_at, %(step)s, 'waiting', 0, %(error)s, timestamptz '9999-01-01', m.stored,
       clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS m(saga uuid, started_at timestamptz, stored jsonb)
 ORDER BY m.saga
ON CONFLICT (saga, step) DO NOTHING
"""

# Bar an action
# Refuse an action unless its row is final. An action that has no row yet gets a tombstone, so that
# it never runs.
BAR = """
INSERT INTO {inbox} AS i (saga, saga_started_at, step, state, attempts, error, due_at,
                          created_at, updated_at)
SELECT m.saga, m.started_at, %(step)s, 'refused', 0, %(error)s, clock_timestamp(),
       clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS m(saga uuid, started_at timestamptz)
 ORDER BY m.saga
ON CONFLICT (saga, step) DO UPDATE
   SET state = 'refused', send_at = NULL, message = NULL, error = EXCLUDED.error,
       updated_at = clock_timestamp()
 WHERE i.state IN ('started', 'waiting', 'held')
RETURNING saga
"""

# Bar an action that has not started
# Leave an open row as it is, because an outside system may be doing the action. A held row is open
# too: the action may have started before the hold.
BAR_UNSTARTED = """
INSERT INTO {inbox} (saga, saga_started_at, step, state, attempts, error, due_at,
                     created_at, updated_at)
SELECT m.saga, m.started_at, %(step)s, 'refused', 0, %(error)s, clock_timestamp(),
       clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS m(saga uuid, started_at timestamptz)
 ORDER BY m.saga
ON CONFLICT (saga, step) DO NOTHING
RETURNING saga
"""

# --- Results of a step ----------------------------------------------------------------------------

# Lock open rows
# Only open rows take the answer of an external call. Held rows do too, because the worker may have
# called before the hold was placed.
LOCK_OPEN = """
SELECT saga, attempts
  FROM {inbox}
 WHERE step = %(step)s AND saga = ANY(%(sagas)s::uuid[]) AND state IN ('started', 'waiting', 'held')
 ORDER BY saga
   FOR UPDATE
"""

# Record results
# Write the results of a step to rows that the caller has claimed or locked. Only a waiting row gets
# a time at which it is sent again.
RECORD_RESULTS = """
UPDATE {inbox} i
   SET state = v.state,
       error = CASE WHEN v.error = '' THEN i.error ELSE v.error END,
       due_at = clock_timestamp() + make_interval(secs => v.due_in),
       send_at = CASE WHEN v.state = 'waiting'
                      THEN clock_timestamp() + make_interval(secs => v.due_in) END,
       message = v.stored,
       updated_at = clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS v(saga uuid, state text, error text, due_in float8, stored jsonb)
 WHERE i.saga = v.saga AND i.step = %(step)s
"""

# Reset attempts
# The rows are claimed or locked by the caller.
RESET_ATTEMPTS = """
UPDATE {inbox} SET attempts = 0 WHERE step = %(step)s AND saga = ANY(%(sagas)s::uuid[])
"""

# Count failed attempts
# A row counts attempt n if it has counted n - 1. A `started` row of an external step counted the
# attempt when it was claimed. Without retry_in the relay never sends the row again, but any other
# delivery may claim it at once.
COUNT_FAILURES = """
INSERT INTO {inbox} AS i (saga, saga_started_at, step, state, attempts, error, due_at, send_at,
                          message, created_at, updated_at)
SELECT m.saga, m.started_at, %(step)s, 'waiting', m.attempt, m.error,
       clock_timestamp() + make_interval(secs => coalesce(m.retry_in, 0)),
       clock_timestamp() + make_interval(secs => m.retry_in),
       m.stored, clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS m(saga uuid, started_at timestamptz, attempt int, error text, retry_in float8, stored jsonb)
 WHERE {not_purged}
 ORDER BY m.saga
ON CONFLICT (saga, step) DO UPDATE
   SET state = 'waiting', attempts = EXCLUDED.attempts, error = EXCLUDED.error,
       due_at = EXCLUDED.due_at, send_at = EXCLUDED.send_at, message = EXCLUDED.message,
       updated_at = clock_timestamp()
 WHERE i.state IN ('started', 'waiting')
   AND (i.attempts = EXCLUDED.attempts - 1
        OR i.attempts = EXCLUDED.attempts AND i.state = 'started')
RETURNING saga
"""

# --- Questions and single rows --------------------------------------------------------------------

# Find sagas by state
# The sagas whose row of a step is in one of these states.
IN_STATE = """
SELECT saga
  FROM {inbox}
 WHERE step = %(step)s AND saga = ANY(%(sagas)s::uuid[]) AND state = ANY(%(states)s::text[])
"""

# Lock one row
# The row may be in any state. Only a `started` row before its `due_at` is leased.
LOCK = """
SELECT state, attempts, state = 'started' AND due_at > clock_timestamp(), message::text,
       by_hand::text
  FROM {inbox}
 WHERE step = %(step)s AND saga = %(saga)s
   FOR UPDATE
"""

# Mark one row as done
# The caller has locked the row. `by_hand` keeps the person who confirms, and the evidence.
MARK_DONE = """
UPDATE {inbox}
   SET state = 'done', send_at = NULL, message = NULL, by_hand = %(confirmation)s::jsonb,
       updated_at = clock_timestamp()
 WHERE step = %(step)s AND saga = %(saga)s
"""

# --- Sending again --------------------------------------------------------------------------------

# Lease due rows
# The relay moves only send_at. If it moved due_at as well, the step that it sends would find the
# row leased.
CLAIM_DUE = sql.lease_statement(
    "{inbox}",
    due="send_at",
    condition="state IN ('started', 'waiting')",
    returning="id, step, attempts, message::text",
    async_commit=True,
)

# Release leased rows
# The relay could not send them, so they are due again at once.
RELEASE_DUE = """
UPDATE {inbox}
   SET send_at = clock_timestamp()
 WHERE id = ANY(ARRAY(SELECT id FROM {inbox}
                       WHERE id = ANY(%(ids)s::bigint[]) AND state IN ('started', 'waiting')
                       ORDER BY saga FOR UPDATE))
"""

# Make waiting rows due
# A parked row has no send_at, and must not get one.
MAKE_DUE_NOW = """
UPDATE {inbox}
   SET due_at = clock_timestamp(), send_at = clock_timestamp()
 WHERE id = ANY(ARRAY(SELECT id FROM {inbox}
                       WHERE id = ANY(%(ids)s::bigint[]) AND state = 'waiting'
                         AND send_at IS NOT NULL
                       ORDER BY saga FOR UPDATE))
"""


@cache
def for_service(service: Service, statement: str) -> str:
    """Return a statement with the table names of a service filled in."""
    return statement.format(
        inbox=service.inbox,
        hold=service.hold,
        not_purged=NOT_PURGED.format(watermark=service.watermark),
        lease_end=sql.LEASE_END,
    )
