"""The Idempotency-Key: one order for one key of one user, however often and however concurrently it is asked for.

The key is held by an advisory lock until the transaction ends, so that a second request at the same moment is told so
rather than kept waiting, and a crash frees it. The answer commits with the order.
"""

from datetime import datetime

from orders.models import IdempotencyKey, Order
from sagas import sql

__all__ = ["KeyInFlight", "KeyReused", "hold", "purge_idempotency_keys", "recall", "remember"]

# The two halves of the lock: a namespace of our own, and the user with the key.
HOLD = (
    "SELECT pg_try_advisory_xact_lock(hashtextextended('orders.idempotency', 0) # hashtextextended(%(key)s, %(user)s))"
)

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


def hold(user_id: int, key: str) -> None:
    """Hold a key until the transaction ends. Raises `KeyInFlight` if another transaction does."""
    ((held,),) = sql.fetch("default", HOLD, {"key": key, "user": user_id})
    if not held:
        raise KeyInFlight


def recall(user_id: int, key: str, fingerprint: str) -> IdempotencyKey | None:
    """Return what was answered to this request before. Raises `KeyReused` if the key was used for another.

    A statement of its own after `hold`: one that began before the lock was ours would not see what its holder wrote.
    """
    record = IdempotencyKey.objects.filter(user_id=user_id, key=key).first()
    if record is not None and record.fingerprint != fingerprint:
        raise KeyReused
    return record


def remember(*, key: str, fingerprint: str, order: Order, body: str) -> None:
    """Keep the answer to a request, in the transaction of what it tells of."""
    IdempotencyKey.objects.create(user_id=order.user_id, key=key, fingerprint=fingerprint, order=order, body=body)


def purge_idempotency_keys(before: datetime) -> int:
    """Forget the keys used before a time, in short transactions; return how many. Clients may rely on 24 hours."""
    purged = 0
    while count := _purge_batch(before):
        purged += count
    return purged


def _purge_batch(before: datetime) -> int:
    return sql.run("default", PURGE, {"before": before, "batch": PURGE_BATCH})
