"""The outbox table: written with the change, claimed by lease, marked when sent."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from sagas.definition.messages import OutboxRow, to_json
from sagas.definition.plan import Plan
from sagas.storage import sql
from sagas.storage.registry import Service

__all__ = ["claim", "insert_cte", "mark_published", "release", "republish", "write"]

WRITE = """
INSERT INTO {outbox} (id, saga, saga_started_at, seq, type, step, step_attempt, data, context, plan, target, headers,
                      created_at, due_at, attempts, last_error)
SELECT r.id, r.saga, r.started_at, r.seq, r.type, r.step, r.step_attempt, r.data, r.context,
       %(plan)s::jsonb, r.target, r.headers, clock_timestamp(),
       clock_timestamp() + make_interval(secs => %(lease)s), %(attempts)s, ''
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r(id uuid, saga uuid, started_at timestamptz, seq int, type text, step text, step_attempt int, data jsonb,
         context jsonb, target text, headers jsonb)
RETURNING {returned}
"""

WRITTEN = (
    "id",
    "saga",
    "started_at",
    "seq",
    "type",
    "step",
    "step_attempt",
    "data",
    "context",
    "target",
    "headers",
)

# now() and not clock_timestamp() where rows are looked for: only a stable function can use the
# index.
CLAIM = """
UPDATE {outbox} SET due_at = clock_timestamp() + make_interval(secs => %(lease)s), attempts = attempts + 1
  FROM {relaxed}
 WHERE id = ANY(ARRAY(SELECT id FROM {outbox} WHERE published_at IS NULL AND due_at <= now()
                       ORDER BY due_at {direction} LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING id, saga, saga_started_at, seq, type, step, step_attempt, data::text, context::text, plan::text, target,
          headers::text, created_at, attempts
"""

# What is leased is found by its id alone, so not by IS NULL: the planner takes the index of what is
# not sent for empty, as it is most of the time, and would read a whole backlog through there for
# every batch.
MARK = """
UPDATE {outbox} o SET published_at = clock_timestamp(), last_error = ''
  FROM unnest(%(ids)s::uuid[], %(attempts)s::int[]) AS r(id, attempts), {relaxed}
 WHERE o.id = r.id AND o.attempts = r.attempts AND coalesce(o.published_at, 'infinity') = 'infinity'
"""

# A send that failed is no attempt: the broker's outage says nothing about the message.
RELEASE = """
UPDATE {outbox} o SET due_at = clock_timestamp(), attempts = o.attempts - 1, last_error = %(error)s
  FROM unnest(%(ids)s::uuid[], %(attempts)s::int[]) AS r(id, attempts), {relaxed}
 WHERE o.id = r.id AND o.attempts = r.attempts AND coalesce(o.published_at, 'infinity') = 'infinity'
"""

REPUBLISH = """
UPDATE {outbox} SET published_at = NULL, due_at = clock_timestamp()
 WHERE id = ANY(ARRAY(SELECT id FROM {outbox} WHERE {column} = ANY(%(values)s::uuid[]) ORDER BY id FOR UPDATE))
"""


def write(service: Service, plan: Plan, envelopes: Sequence[OutboxRow], *, leased: bool) -> None:
    """Insert rows of one plan, in the caller's transaction.

    `leased`: the caller sends them itself once it has committed; if it cannot, the relay does when
    the lease is over.
    """
    if not envelopes:
        return
    statement, params = _insert(service, plan, envelopes, leased=leased, returned="created_at")
    created = sql.fetch(service.alias, statement, params)
    for row, (created_at,) in zip(envelopes, created, strict=True):
        row.created_at, row.attempts = created_at, params["attempts"]


def insert_cte(service: Service, plan: Plan, envelope: OutboxRow) -> sql.CommonTableExpressions:
    """Return what inserts a row that is due at once, as the expression `written` of another
    statement.
    """
    statement, params = _insert(service, plan, [envelope], leased=False, returned="*")
    return sql.CommonTableExpressions(f"written AS ({statement})", params)


def claim(service: Service, *, limit: int, newest: bool = False) -> list[OutboxRow]:
    """Lease up to `limit` due rows, the oldest or the newest; whoever holds the lease sends
    them.
    """
    statement = CLAIM.format(
        outbox=service.outbox, relaxed=sql.ASYNC_COMMIT, direction="DESC" if newest else "ASC"
    )
    params = {"limit": limit, "lease": settings.SAGA_LEASE_SECONDS}
    return [_envelope(*row) for row in sql.fetch(service.alias, statement, params)]


def mark_published(service: Service, envelopes: Sequence[OutboxRow]) -> None:
    """Mark rows as sent, where the lease is still ours."""
    if envelopes:
        sql.run(
            service.alias,
            MARK.format(outbox=service.outbox, relaxed=sql.ASYNC_COMMIT),
            _leases(envelopes),
        )


def release(service: Service, envelopes: Sequence[OutboxRow], *, error: str) -> None:
    """Give leased rows back at once, so that they need not wait the lease out."""
    if envelopes:
        params = {**_leases(envelopes), "error": error}
        sql.run(
            service.alias, RELEASE.format(outbox=service.outbox, relaxed=sql.ASYNC_COMMIT), params
        )


def republish(service: Service, *, sagas: Sequence[UUID] = (), ids: Sequence[UUID] = ()) -> int:
    """Make published rows due again, by saga or by id; return how many. Receivers that did the
    step stay silent.
    """
    column, values = ("saga", sagas) if sagas else ("id", ids)
    statement = REPUBLISH.format(outbox=service.outbox, column=column)
    return sql.run(service.alias, statement, {"values": sql.array_literal(values)}) if values else 0


def _insert(
    service: Service, plan: Plan, envelopes: Sequence[OutboxRow], *, leased: bool, returned: str
) -> tuple[str, dict[str, Any]]:
    params = {
        "plan": to_json(plan),
        "lease": settings.SAGA_LEASE_SECONDS if leased else 0,
        "attempts": 1 if leased else 0,
        "rows": sql.json_rows({name: getattr(row, name) for name in WRITTEN} for row in envelopes),
    }
    return WRITE.format(outbox=service.outbox, returned=returned), params


def _leases(envelopes: Sequence[OutboxRow]) -> dict[str, str]:
    return {
        "ids": sql.array_literal(row.id for row in envelopes),
        "attempts": sql.array_literal(row.attempts for row in envelopes),
    }


def _envelope(*columns: Any) -> OutboxRow:
    *plain, data, context, plan, target, headers, created_at, attempts = columns
    identity = dict(
        zip(("id", "saga", "started_at", "seq", "type", "step", "step_attempt"), plain, strict=True)
    )
    return OutboxRow(
        **identity,
        data=msgspec.json.decode(data),
        context=msgspec.json.decode(context),
        plan=msgspec.json.decode(plan, type=Plan),
        target=target,
        headers=msgspec.json.decode(headers),
        created_at=created_at,
        attempts=attempts,
    )
