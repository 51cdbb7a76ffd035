"""The statements that lease open inbox rows, extend their leases, free them, and make them due.

The names in braces are filled in by `sagas.storage.inbox_sql.for_service`.
"""

from sagas import backoff, sql

__all__ = [
    "CLAIM_DUE",
    "CLAIM_DUE_UNSENT",
    "EXTEND",
    "FREE_LOST",
    "HAS_DUE",
    "LOSS_PAUSE",
    "MAKE_DUE_NOW",
    "NO_CLAIM",
    "PARK_UNREADABLE",
    "RELEASE_DUE",
    "SESSION_LIVES",
    "SESSION_STARTED",
]

# The start of this session
# A session of PostgreSQL is known by the process id of its backend and by its start. The id alone
# is not enough, because the system gives it to another process later.
# https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW
SESSION_STARTED = "(SELECT a.backend_start FROM pg_stat_get_activity(pg_backend_pid()) a)"

# Condition: the session that claimed row `i` may be alive
# For a session of another role, `backend_start` is null. It may be the session of the claim, so the
# row keeps its lease.
SESSION_LIVES = """EXISTS (
  SELECT 1 FROM pg_stat_get_activity(i.session_pid) a
   WHERE i.session_pid IS NOT NULL AND (a.backend_start = i.session_started) IS NOT FALSE)"""

# Condition: the message was not sent since a worker last took it, or so long ago that it is lost
NOT_IN_QUEUE = """(sent_at IS NULL OR sent_at <= updated_at
        OR sent_at < clock_timestamp() - make_interval(secs => %(lost_after)s))"""

NO_CLAIM = "claim = NULL, session_pid = NULL, session_started = NULL"

# The pause before a freed row `i` may run again. After its first loss it runs at once.
NEXT_PAUSE = backoff.exponential_sql("i.losses", first="1", longest="60")
LOSS_PAUSE = f"make_interval(secs => CASE WHEN i.losses = 0 THEN 0 ELSE {NEXT_PAUSE} END)"

# Extend leases
# The rows that are still held under the claim. From now on they belong to the session of the
# caller, which need not be the session of the claim. `updated_at` stays, because it tells how long
# the step has been running. A locked row is skipped, so that it does not delay the others.
EXTEND = """
UPDATE {inbox}
   SET due_at = {lease_end}, send_at = {lease_end}, session_pid = pg_backend_pid(),
       session_started = {session_started}
 WHERE id = ANY(ARRAY(SELECT id FROM {inbox}
                       WHERE saga = ANY(%(sagas)s::uuid[]) AND claim = %(claim)s::uuid
                         AND state = 'started'
                       ORDER BY saga FOR UPDATE SKIP LOCKED))
RETURNING saga
"""

# Free the claims of lost sessions
# The rows are due at once. Each loss is counted, so that the relay sends smaller and smaller
# batches of them, but it is no failed attempt of the saga. From the second loss on, the pause
# grows, because the message may be the cause.
# `gone` compares the sessions as they were at one moment. A later claim has another token.
FREE_LOST = """
WITH sessions AS MATERIALIZED (
  SELECT pid, backend_start FROM pg_stat_get_activity(NULL)
), gone AS MATERIALIZED (
  SELECT i.id, i.claim
    FROM {inbox} i
   WHERE i.state = 'started' AND i.session_pid IS NOT NULL AND i.due_at > now()
     AND NOT EXISTS (SELECT 1 FROM sessions a
                      WHERE a.pid = i.session_pid
                        AND (a.backend_start = i.session_started) IS NOT FALSE)
   LIMIT %(limit)s
)
UPDATE {inbox} i
   SET losses = i.losses + 1, {no_claim},
       due_at = clock_timestamp() + {pause}, send_at = clock_timestamp() + {pause}
 WHERE i.id = ANY(ARRAY(SELECT r.id FROM {inbox} r JOIN gone g ON r.id = g.id
                         WHERE r.claim = g.claim AND r.state = 'started'
                         ORDER BY r.saga FOR UPDATE OF r SKIP LOCKED))
RETURNING i.saga, i.step
"""

# Lease due rows
# The relay moves only send_at. If it moved due_at as well, the step that it sends would find the
# row leased.
# sent_at marks the row until a worker takes the message, which sets updated_at or clears the mark.
CLAIM_DUE = sql.lease_statement(
    "{inbox}",
    due="send_at",
    condition="state IN ('started', 'waiting')",
    changes=["sent_at = clock_timestamp()"],
    returning="id, step, attempts, losses, message::text",
    async_commit=True,
)

# Lease due rows whose message is not in the queue
CLAIM_DUE_UNSENT = sql.lease_statement(
    "{inbox}",
    due="send_at",
    condition=f"state IN ('started', 'waiting') AND {NOT_IN_QUEUE}",
    changes=["sent_at = clock_timestamp()"],
    returning="id, step, attempts, losses, message::text",
    async_commit=True,
)

# Find out whether any row is due
HAS_DUE = """
SELECT 1 FROM {inbox} WHERE send_at <= now() AND state IN ('started', 'waiting') LIMIT 1
"""

# Park rows with an unreadable message
# The relay never sends them again. Any other delivery of the step may take them over.
PARK_UNREADABLE = """
UPDATE {inbox} i
   SET state = 'waiting', send_at = NULL, error = r.error, {no_claim},
       updated_at = clock_timestamp()
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(id bigint, error text)
 WHERE i.id = r.id AND i.state IN ('started', 'waiting') AND i.due_at <= clock_timestamp()
"""

# Release leased rows
# The relay could not send them, so they are due again at once.
RELEASE_DUE = """
UPDATE {inbox}
   SET send_at = clock_timestamp(), sent_at = NULL
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
