"""The statements that write the state of a step to its inbox row.

Each statement that touches several rows locks them in the order of their saga, so that overlapping
batches do not deadlock. Undo rows are locked before action rows (see `sagas.execution.runner`).
The statements that only move the times of open rows are in `sagas.storage.inbox_lease_sql`.
The names in braces are filled in by `for_service`.
"""

from functools import cache

from sagas import sql
from sagas.storage import call_limits, destination_holds
from sagas.storage.inbox_lease_sql import LOSS_PAUSE, NO_CLAIM, SESSION_LIVES, SESSION_STARTED
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
#
# A `started` row names its claim and the database session that made it. Any other row has no claim.

# --- Messages that arrive -------------------------------------------------------------------------

# Condition: the saga of message `m` is not purged
# A step of a purged saga may be done already, and nothing here remembers it. So it must not run.
# `home` is the home of the message's plan.
NOT_PURGED = """NOT EXISTS (
  SELECT 1 FROM {watermark} w
   WHERE w.home IN ('', %(home)s) AND m.started_at < w.before AND NOT m.saga = ANY(w.kept))"""

# Claim a step
# Insert the row of each message, or take over an open row that is due. The row of a message on hold
# becomes `held`: no attempt is counted, and the relay does not send it. The probe of an automatic
# hold passes it. A claim whose lease is over is a loss of its run.
# The claim of an external step also returns the limits of calls that operators have set, and the
# holds on its destinations, so that no further statement looks for them.
# `lock_wait` limits how long each statement of the transaction waits for a lock, so that a locked
# row of one saga does not delay the others for longer.
CLAIM = """
WITH m AS MATERIALIZED (
  SELECT m.saga, m.started_at, m.stored,
         EXISTS (SELECT 1 FROM {hold} h
                  WHERE h.step = %(step)s AND h.probe IS DISTINCT FROM m.saga)
         OR EXISTS (SELECT 1 FROM {hold} h WHERE h.saga = m.saga) AS held
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS m(saga uuid, started_at timestamptz, stored jsonb),
         set_config('lock_timeout', %(lock_wait)s, true)
)
INSERT INTO {inbox} AS i (saga, saga_started_at, step, state, attempts, error, due_at, send_at,
                          message, claim, session_pid, session_started, created_at, updated_at)
SELECT m.saga, m.started_at, %(step)s,
       CASE WHEN m.held THEN 'held' ELSE %(state)s END,
       CASE WHEN m.held THEN 0 ELSE 1 END, '', {lease_end},
       CASE WHEN %(open)s AND NOT m.held THEN {lease_end} END,
       m.stored,
       CASE WHEN NOT m.held THEN %(claim)s::uuid END,
       CASE WHEN %(open)s AND NOT m.held THEN pg_backend_pid() END,
       CASE WHEN %(open)s AND NOT m.held THEN {session_started} END,
       clock_timestamp(), clock_timestamp()
  FROM m
 WHERE {not_purged}
 ORDER BY m.saga
ON CONFLICT (saga, step) DO UPDATE
   SET state = EXCLUDED.state, attempts = i.attempts + EXCLUDED.attempts,
       losses = i.losses + CASE WHEN i.claim IS NULL THEN 0 ELSE 1 END,
       due_at = EXCLUDED.due_at, send_at = EXCLUDED.send_at, message = EXCLUDED.message,
       claim = EXCLUDED.claim, session_pid = EXCLUDED.session_pid,
       session_started = EXCLUDED.session_started, updated_at = clock_timestamp()
 WHERE i.state IN ('started', 'waiting') AND i.due_at <= clock_timestamp()
    OR i.state = 'held' AND EXCLUDED.state <> 'held'
RETURNING saga, attempts, excused + losses - losses_excused, state = 'held',
          CASE WHEN %(open)s THEN {listed_limits} END,
          CASE WHEN %(open)s THEN {listed_holds} END
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

# Postpone messages
# Keep messages that the process cannot take now. No attempt is counted. A new row is due at once
# for any other delivery, and the relay sends it later. An open row that is due keeps its state.
# `lock_wait` is that of CLAIM.
POSTPONE = """
INSERT INTO {inbox} AS i (saga, saga_started_at, step, state, attempts, error, due_at, send_at,
                          message, created_at, updated_at)
SELECT m.saga, m.started_at, %(step)s, 'waiting', 0, '', clock_timestamp(),
       clock_timestamp() + make_interval(secs => m.due_in), m.stored, clock_timestamp(),
       clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS m(saga uuid, started_at timestamptz, stored jsonb, due_in float8),
       set_config('lock_timeout', %(lock_wait)s, true)
 WHERE {not_purged}
 ORDER BY m.saga
ON CONFLICT (saga, step) DO UPDATE
   SET send_at = EXCLUDED.send_at, sent_at = NULL, message = EXCLUDED.message
 WHERE i.state IN ('started', 'waiting') AND i.due_at <= clock_timestamp()
RETURNING saga
"""

# Hold calls
# Keep messages whose destination is on hold. Their claim was rolled back, so no attempt is counted.
# This attempt leaves no intent. An earlier attempt may have left one. A claim whose lease is over
# is a loss of its run, as in CLAIM. `lock_wait` is that of CLAIM.
HOLD_CALLS = """
INSERT INTO {inbox} AS i (saga, saga_started_at, step, state, attempts, error, due_at, message,
                          destination, created_at, updated_at)
SELECT m.saga, m.started_at, %(step)s, 'held', 0, '', clock_timestamp(), m.stored, m.destination,
       clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS m(saga uuid, started_at timestamptz, stored jsonb, destination text),
       set_config('lock_timeout', %(lock_wait)s, true)
 WHERE {not_purged}
 ORDER BY m.saga
ON CONFLICT (saga, step) DO UPDATE
   SET state = 'held', losses = i.losses + CASE WHEN i.claim IS NULL THEN 0 ELSE 1 END,
       due_at = EXCLUDED.due_at, send_at = NULL, message = EXCLUDED.message,
       destination = EXCLUDED.destination, {no_claim}, updated_at = clock_timestamp()
 WHERE i.state IN ('started', 'waiting') AND i.due_at <= clock_timestamp()
    OR i.state = 'held' AND i.destination <> EXCLUDED.destination
RETURNING saga
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
   SET state = 'refused', send_at = NULL, message = NULL, error = EXCLUDED.error, {no_claim},
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
# called before the hold was placed. The claim is not compared: the answer of the outside system is
# true, whichever run asked. RECORD_RESULTS compares it for answers that decide nothing, and the
# caller for a skip.
LOCK_OPEN = """
SELECT saga, claim
  FROM {inbox}, set_config('lock_timeout', %(lock_wait)s, true)
 WHERE step = %(step)s AND saga = ANY(%(sagas)s::uuid[]) AND state IN ('started', 'waiting', 'held')
 ORDER BY saga
   FOR UPDATE
"""

# Record results
# Write the results of a step to rows that the caller has claimed or locked. Only a waiting row gets
# a time at which it is sent again. A final result is true whichever run it comes from. A result
# that leaves the row open changes no row that another run holds, because it would end the lease of
# that run.
RECORD_RESULTS = """
UPDATE {inbox} i
   SET state = v.state,
       error = CASE WHEN v.error = '' THEN i.error ELSE v.error END,
       due_at = clock_timestamp() + make_interval(secs => v.due_in),
       send_at = CASE WHEN v.state = 'waiting'
                      THEN clock_timestamp() + make_interval(secs => v.due_in) END,
       message = v.stored, destination = COALESCE(v.destination, i.destination), {no_claim},
       updated_at = clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS v(saga uuid, state text, error text, due_in float8, stored jsonb, claim uuid,
         destination text)
 WHERE i.saga = v.saga AND i.step = %(step)s
   AND (v.state IN ('done', 'refused') OR i.claim IS NULL OR i.claim = v.claim)
"""

# Reset attempts
# The rows are claimed or locked by the caller, which has recorded their results before. A row that
# still has a claim belongs to another run.
RESET_ATTEMPTS = """
UPDATE {inbox} SET attempts = 0, excused = 0, losses_excused = losses
 WHERE step = %(step)s AND saga = ANY(%(sagas)s::uuid[]) AND claim IS NULL
"""

# Excuse attempts
# The last attempt of each row failed by no fault of its saga. The attempts before may have met the
# same fault, so none of them counts. The number of attempts stays, because money may be on its way
# if there was any. The losses up to now are among these attempts, so that CLAIM does not take them
# off twice. The rows are as in RESET_ATTEMPTS.
EXCUSE = """
UPDATE {inbox} SET excused = attempts, losses_excused = losses
 WHERE step = %(step)s AND saga = ANY(%(sagas)s::uuid[]) AND claim IS NULL
"""

# Count failed attempts
# A report that names its claim counts while the row is still claimed under it, and so it counts
# once. If the claim was freed or taken over, another run decides.
# A report without a claim counts attempt n if the row has counted n - 1. It is of a run that
# claimed nothing, whose process was lost, or of the release before. A `started` row of an external
# step counted the attempt when it was claimed. The report changes no row that a living session has
# leased, because that run reports for itself.
# Without retry_in the relay never sends the row again, but any other delivery may claim it at once.
# The loss of a process counts once: FREE_LOST, which takes the claim away, has counted it too.
COUNT_FAILURES = """
INSERT INTO {inbox} AS i (saga, saga_started_at, step, state, attempts, losses, error, due_at,
                          send_at, message, claim, created_at, updated_at)
SELECT m.saga, m.started_at, %(step)s::text, 'waiting', m.attempt, m.lost::int, m.error,
       clock_timestamp() + make_interval(secs => coalesce(m.retry_in, 0)),
       clock_timestamp() + make_interval(secs => m.retry_in),
       m.stored, m.claim, clock_timestamp(), clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS m(saga uuid, started_at timestamptz, attempt int, lost bool, error text, retry_in float8,
         stored jsonb, claim uuid)
 WHERE {not_purged}
   AND (m.claim IS NULL
        OR EXISTS (SELECT 1 FROM {inbox} r
                    WHERE r.saga = m.saga AND r.step = %(step)s::text AND r.claim = m.claim))
 ORDER BY m.saga
ON CONFLICT (saga, step) DO UPDATE
   SET state = 'waiting', attempts = GREATEST(i.attempts, EXCLUDED.attempts),
       losses = i.losses + CASE WHEN i.attempts < EXCLUDED.attempts OR i.claim IS NOT NULL
                                THEN EXCLUDED.losses ELSE 0 END,
       error = EXCLUDED.error, due_at = EXCLUDED.due_at, send_at = EXCLUDED.send_at,
       message = EXCLUDED.message, {no_claim}, updated_at = clock_timestamp()
 WHERE i.state IN ('started', 'waiting')
   AND CASE WHEN EXCLUDED.claim IS NOT NULL THEN i.claim = EXCLUDED.claim
            ELSE (i.attempts = EXCLUDED.attempts - 1
                  OR i.attempts = EXCLUDED.attempts AND i.state = 'started')
             AND NOT (i.state = 'started' AND i.due_at > clock_timestamp() AND {session_lives})
       END
RETURNING saga, excused
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
# The row may be in any state. A `started` row is leased until its `due_at`, unless the session that
# claimed it is gone. A row of the release before names no session.
LOCK = """
SELECT state, attempts,
       state = 'started' AND due_at > clock_timestamp()
       AND (session_pid IS NULL OR {session_lives}),
       message::text, by_hand::text
  FROM {inbox} i
 WHERE step = %(step)s AND saga = %(saga)s
   FOR UPDATE
"""

# Find locked rows
# The rows of some sagas and steps that another transaction keeps locked. Run it outside a
# transaction, because it locks the other rows until its end.
LOCKED = """
WITH free AS MATERIALIZED (
  SELECT id FROM {inbox}
   WHERE saga = ANY(%(sagas)s::uuid[]) AND step = ANY(%(steps)s::text[])
     FOR UPDATE SKIP LOCKED
)
SELECT saga, step
  FROM {inbox}
 WHERE saga = ANY(%(sagas)s::uuid[]) AND step = ANY(%(steps)s::text[])
   AND id NOT IN (SELECT id FROM free)
"""

# Mark one row as done
# The caller has locked the row. `by_hand` keeps the person who confirms, and the evidence.
MARK_DONE = """
UPDATE {inbox}
   SET state = 'done', send_at = NULL, message = NULL, by_hand = %(confirmation)s::jsonb,
       {no_claim}, updated_at = clock_timestamp()
 WHERE step = %(step)s AND saga = %(saga)s
"""


@cache
def for_service(service: Service, statement: str) -> str:
    """Return a statement with the table names of a service filled in."""
    return statement.format(
        inbox=service.inbox,
        hold=service.hold,
        listed_limits=call_limits.LISTED.format(limit=service.limit),
        listed_holds=destination_holds.for_service(service, destination_holds.LISTED),
        not_purged=NOT_PURGED.format(watermark=service.watermark),
        lease_end=sql.LEASE_END,
        session_started=SESSION_STARTED,
        session_lives=SESSION_LIVES,
        no_claim=NO_CLAIM,
        pause=LOSS_PAUSE,
    )
