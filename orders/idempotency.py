"""The Idempotency-Key: one order for one key of one user, however often and however concurrently it
is asked for.

The key is held by an advisory lock until the transaction ends, so that a second request at the same
moment is told so rather than kept waiting, and a crash frees it. The answer commits with the order.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import IntegrityError

from sagas.storage import sql

__all__ = ["KeyInFlight", "KeyReused", "Known", "is_taken", "purge_idempotency_keys"]

# The constraint of the table that has each key of a user once.
UNIQUE = "orders_idempotency_once"

# By the primary key, as the oldest have the lowest: a transaction that committed late holds back at
# most its own batch, until the next purge.
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
    """The order that was placed under a key, what was answered, and what tells the request from
    another.
    """

    order_id: UUID
    body: str
    fingerprint: str

    def answer_to(self, fingerprint: str) -> str:
        """Return what was answered. Raises `KeyReused` if that was to another request."""
        if self.fingerprint != fingerprint:
            raise KeyReused
        return self.body


def is_taken(error: IntegrityError) -> bool:
    """Tell whether another request has just committed the key: between our look for it and its
    lock, which is ours.
    """
    return getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) == UNIQUE


def purge_idempotency_keys(before: datetime) -> int:
    """Forget the keys used before a time, in short transactions; return how many. Clients may
    rely on 24 hours.
    """
    purged = 0
    while count := _purge_batch(before):
        purged += count
    return purged


def _purge_batch(before: datetime) -> int:
    return sql.run("default", PURGE, {"before": before, "batch": PURGE_BATCH})
