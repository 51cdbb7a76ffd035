"""The stored answers to idempotency keys: one key of one user makes one resource.

An advisory lock holds the key until the transaction ends. So a concurrent request with the key is
rejected at once instead of waiting, and a crash frees the key. The answer commits together with the
resource, so a repeated request finds both or neither.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from django.db import IntegrityError, models, router, transaction

from api.resources.models import IdempotencyRecord
from sagas import sql
from sagas.models import TrackedSaga

__all__ = [
    "KeyInFlight",
    "KeyReused",
    "Made",
    "StoredAnswer",
    "fingerprint_of",
    "is_taken",
    "make_once",
    "purge_records",
    "try_lock",
]

# The lock combines a namespace of the app with the user and the key. A statement's snapshot may be
# older than its lock, so it may miss rows that the lock's last holder committed. The unique
# constraint catches that (`is_taken`).
TRY_LOCK = """pg_try_advisory_xact_lock(
         hashtextextended('{namespace}', 0) # hashtextextended(%(key)s, %(user)s))"""

LOOKUP = """
SELECT {lock}, known.{resource}, known.body, known.fingerprint
  FROM (VALUES (1)) AS once
  LEFT JOIN {table} AS known ON known.{user} = %(user)s AND known.key = %(key)s
"""

# The oldest keys are found by the primary key, because ids grow. A row that committed late delays
# at most its own batch until the next purge.
PURGE = """
DELETE FROM {table} WHERE id = ANY(ARRAY(
  SELECT oldest.id
    FROM (SELECT id, created_at FROM {table} ORDER BY id LIMIT %(batch)s) AS oldest
   WHERE oldest.created_at < %(before)s))
"""
PURGE_BATCH = 1_000

R = TypeVar("R", bound=TrackedSaga)


class KeyInFlight(Exception):
    """Another request with this key is still being handled."""


class KeyReused(Exception):
    """The key was already used for a different request."""


class StoredAnswer(NamedTuple):
    """The id of the resource made with a key, the answer, and the fingerprint of the request."""

    resource: UUID
    body: str
    fingerprint: str

    def answer_to(self, fingerprint: str) -> str:
        """Return the stored answer. Raises `KeyReused` if the request was a different one."""
        if self.fingerprint != fingerprint:
            raise KeyReused
        return self.body


class Made(NamedTuple):
    """A resource by its id, and the answer. `replayed` means that the key was used before."""

    resource: UUID
    body: str
    replayed: bool


def fingerprint_of(request: msgspec.Struct, *, of: str = "") -> str:
    """Return a hash that is the same for every JSON spelling of a request.

    An unset field is no part of it. `of` tells requests of several kinds apart.
    """
    encoded = msgspec.json.encode(request, order="deterministic")
    return hashlib.sha256(of.encode() + encoded).hexdigest()


def try_lock(app_label: str) -> str:
    """Return the expression that locks the `key` of a `user` until the transaction ends.

    Its value is false if another request has the lock.
    """
    return TRY_LOCK.format(namespace=f"{app_label}.idempotency")


def make_once(
    records: type[IdempotencyRecord],
    *,
    user: int,
    key: str,
    fingerprint: str,
    make: Callable[[], R],
    render: Callable[[R], str],
) -> Made:
    """Make a resource and store the answer in one transaction, or return the stored answer.

    `make` inserts the tracked row and starts its saga; `render` returns the answer. Raises
    `KeyInFlight` or `KeyReused`. After these, and after an error of `make`, the key is as free as
    before.
    """
    try:
        with transaction.atomic(using=router.db_for_write(records)):
            stored = _lookup(records, user, key)
            if stored is not None:
                return Made(stored.resource, stored.answer_to(fingerprint), replayed=True)

            row = make()
            body = render(row)
            _store(records, user, key, fingerprint, row, body)
    except IntegrityError as error:
        if is_taken(error, records):
            raise KeyInFlight from error
        raise
    return Made(row.pk, body, replayed=False)


def is_taken(error: IntegrityError, records: type[IdempotencyRecord]) -> bool:
    """Tell whether the error means that another request has just committed the same key.

    That happens between our lookup of the key and our lock on it.
    """
    constraint = f"{records._meta.app_label}_idempotency_once"
    return getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) == constraint


def purge_records(records: type[IdempotencyRecord], before: datetime) -> int:
    """Delete the keys used before a time, in short transactions; return how many.

    Clients may rely on a key for 24 hours.
    """
    statement = PURGE.format(table=records._meta.db_table)
    params = {"before": before, "batch": PURGE_BATCH}
    purged = 0
    while count := sql.run(router.db_for_write(records), statement, params):
        purged += count
    return purged


def _lookup(records: type[IdempotencyRecord], user: int, key: str) -> StoredAnswer | None:
    meta = records._meta
    statement = LOOKUP.format(
        lock=try_lock(meta.app_label),
        resource=_field(records, records.resource).column,
        user=_field(records, "user").column,
        table=meta.db_table,
    )
    params = {"key": key, "user": user}
    alias = router.db_for_write(records)
    [(locked, resource, body, fingerprint)] = sql.fetch(alias, statement, params)
    if not locked:
        raise KeyInFlight
    return StoredAnswer(resource, body, fingerprint) if resource else None


def _field(records: type[IdempotencyRecord], name: str) -> "models.Field[Any, Any]":
    field = records._meta.get_field(name)
    if not isinstance(field, models.Field):
        raise TypeError(f"{records.__name__}.{name} is no column.")
    return field


def _store(
    records: type[IdempotencyRecord],
    user: int,
    key: str,
    fingerprint: str,
    row: TrackedSaga,
    body: str,
) -> None:
    fields: dict[str, Any] = {
        _field(records, "user").attname: user,
        _field(records, records.resource).attname: row.pk,
    }
    records._base_manager.using(router.db_for_write(records)).create(
        key=key, fingerprint=fingerprint, body=body, **fields
    )
