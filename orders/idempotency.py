"""The Idempotency-Key: one order for one key of one user, however often and however concurrently it is asked for.

The key is held by an advisory lock until the transaction ends, so that a second request at the same moment is told so
rather than kept waiting, and a crash frees it. The answer commits with the order.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sagas import sql

__all__ = ["KeyInFlight", "KeyReused", "Known", "hold", "purge_idempotency_keys", "recall"]

# The two halves of the lock: a namespace of our own, and the user with the key.
HOLD = """
SELECT pg_try_advisory_xact_lock(hashtextextended('orders.idempotency', 0) # hashtextextended(%(key)s, %(user)s)),
       statement_timestamp()
"""
RECALL = "SELECT order_id, body, fingerprint FROM orders_idempotencykey WHERE user_id = %(user)s AND key = %(key)s"

# By the primary key, as the oldest have the lowest: a transaction that committed late holds back at most its own batch,
# until the next purge.
PURGE = """
DELETE FROM orders_idempotencykey WHERE id = ANY(ARRAY(
  SELECT oldest.id
    FROM (SELECT id, created_at FROM orders_idempotencykey ORDER BY id LIMIT %(batch)s) AS oldest
   WHERE oldest.created_at < %(before)s))
"""
PURGE_BATCH = 1_000


class KeyInFlight(Exception):
    """Another request with this key is being handled at this moment."""


class KeyReused(Exception):
    """The key was used before, for another request."""


class Known(NamedTuple):
    """The order that was placed under a key, and what was answered."""

    order_id: UUID
    body: str


def hold(user_id: int, key: str) -> datetime:
    """Hold a key until the transaction ends; return the database's time. Raises `KeyInFlight` if another has it."""
    ((held, now),) = sql.fetch("default", HOLD, {"key": key, "user": user_id})
    if not held:
        raise KeyInFlight
    return now  # type: ignore[no-any-return]


def recall(user_id: int, key: str, fingerprint: str) -> Known | None:
    """Return what was answered to this request before. Raises `KeyReused` if the key was used for another.

    A statement of its own after `hold`: one that began before the lock was ours would not see what its holder wrote.
    """
    rows = sql.fetch("default", RECALL, {"user": user_id, "key": key})
    if not rows:
        return None
    order_id, body, used_for = rows[0]
    if used_for != fingerprint:
        raise KeyReused
    return Known(order_id, body)


def purge_idempotency_keys(before: datetime) -> int:
    """Forget the keys used before a time, in short transactions; return how many. Clients may rely on 24 hours."""
    purged = 0
    while count := _purge_batch(before):
        purged += count
    return purged


def _purge_batch(before: datetime) -> int:
    return sql.run("default", PURGE, {"before": before, "batch": PURGE_BATCH})
