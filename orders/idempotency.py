"""The Idempotency-Key: one key of one user places one order, even if requests are concurrent.

An advisory lock (`TRY_LOCK`) holds the key until the transaction ends. So a concurrent request with
the key is rejected at once instead of waiting, and a crash frees the key. The answer commits with
the order.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import IntegrityError

from sagas.storage import sql

__all__ = [
    "TRY_LOCK",
    "KeyInFlight",
    "KeyReused",
    "StoredAnswer",
    "is_taken",
    "purge_idempotency_keys",
]

# The constraint that makes a key unique per user.
UNIQUE = "orders_idempotency_once"

# The expression that locks a key of a user until the transaction ends; false if another request has
# the lock. It is part of the statement of `orders.placing` that looks up the key, which saves a
# round trip. The lock combines a namespace of its own with the user and the key. The statement's
# snapshot may be older than its lock, so it may miss rows that the lock's last holder committed.
# The unique constraint catches that (`is_taken`).
TRY_LOCK = """pg_try_advisory_xact_lock(
         hashtextextended('orders.idempotency', 0) # hashtextextended(%(key)s, %(user)s))"""

# The oldest keys are found by the primary key, because ids grow. A row that committed late delays
# at most its own batch until the next purge.
PURGE = """
DELETE FROM orders_idempotencykey WHERE id = ANY(ARRAY(
  SELECT oldest.id
    FROM (SELECT id, created_at FROM orders_idempotencykey ORDER BY id LIMIT %(batch)s) AS oldest
   WHERE oldest.created_at < %(before)s))
"""
PURGE_BATCH = 1_000


class KeyInFlight(Exception):
    """Another request with this key is still being handled."""


class KeyReused(Exception):
    """The key was already used for a different request."""


class StoredAnswer(NamedTuple):
    """The order placed with a key, the answer, and the fingerprint of the request."""

    order_id: UUID
    body: str
    fingerprint: str

    def answer_to(self, fingerprint: str) -> str:
        """Return the stored answer. Raises `KeyReused` if the request was a different one."""
        if self.fingerprint != fingerprint:
            raise KeyReused
        return self.body


def is_taken(error: IntegrityError) -> bool:
    """Tell whether the error means that another request has just committed the same key.

    That happens between our lookup of the key and our lock on it.
    """
    return getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) == UNIQUE


def purge_idempotency_keys(before: datetime) -> int:
    """Delete the keys used before a time, in short transactions; return how many.

    Clients may rely on a key for 24 hours.
    """
    purged = 0
    while count := _purge_batch(before):
        purged += count
    return purged


def _purge_batch(before: datetime) -> int:
    return sql.run("default", PURGE, {"before": before, "batch": PURGE_BATCH})
