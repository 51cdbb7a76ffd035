"""The outbox table: rows are written with the change, leased by the relay, and marked when sent."""

from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from sagas.definition.messages import OutboxRow, to_json
from sagas.definition.plan import Plan
from sagas.storage import sql
from sagas.storage.registry import Service

__all__ = ["claim", "insert_cte", "mark_published", "release", "republish", "write"]

# Insert rows
# All rows have one plan. If the caller sends the rows itself, they are leased to it.
INSERT = """
INSERT INTO {outbox} (id, saga, saga_started_at, seq, type, step, step_attempt, data, context, plan,
                      target, headers, created_at, due_at, attempts, last_error)
SELECT r.id, r.saga, r.started_at, r.seq, r.type, r.step, r.step_attempt, r.data, r.context,
       %(plan)s::jsonb, r.target, r.headers, clock_timestamp(), {lease_end}, %(attempts)s, ''
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r(id uuid, saga uuid, started_at timestamptz, seq int, type text, step text,
         step_attempt int, data jsonb, context jsonb, target text, headers jsonb)
RETURNING {returned}
"""

INSERTED_FIELDS = (
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

LEASED_COLUMNS = """id, saga, saga_started_at, seq, type, step, step_attempt, data::text,
          context::text, plan::text, target, headers::text, created_at, attempts"""

# Mark leased rows as published
# Leased rows are looked up by id alone. `published_at IS NULL` would make the planner use the
# partial index of unsent rows and scan the whole backlog, because its statistics say that the index
# is empty. Hence coalesce().
MARK_PUBLISHED = """
UPDATE {outbox} o
   SET published_at = clock_timestamp(), last_error = ''
  FROM unnest(%(ids)s::uuid[], %(attempts)s::int[]) AS r(id, attempts), {async_commit}
 WHERE o.id = r.id AND o.attempts = r.attempts
   AND coalesce(o.published_at, 'infinity') = 'infinity'
"""

# Release leased rows
# A failed send is not counted as an attempt, because a broker outage is no fault of the message.
RELEASE = """
UPDATE {outbox} o
   SET due_at = clock_timestamp(), attempts = o.attempts - 1, last_error = %(error)s
  FROM unnest(%(ids)s::uuid[], %(attempts)s::int[]) AS r(id, attempts), {async_commit}
 WHERE o.id = r.id AND o.attempts = r.attempts
   AND coalesce(o.published_at, 'infinity') = 'infinity'
"""

# Publish rows again
# By their saga or by their id.
REPUBLISH = """
UPDATE {outbox}
   SET published_at = NULL, due_at = clock_timestamp()
 WHERE id = ANY(ARRAY(SELECT id FROM {outbox} WHERE {column} = ANY(%(values)s::uuid[])
                       ORDER BY id FOR UPDATE))
"""


def write(service: Service, plan: Plan, rows: Sequence[OutboxRow], *, leased: bool) -> None:
    """Insert rows of one plan in the caller's transaction, and set their `created_at`.

    `leased`: the caller sends the rows after its commit. If it does not, the relay sends them when
    the lease has run out.
    """
    if not rows:
        return

    params = _insert_params(plan, rows, leased=leased)
    created = sql.fetch(service.alias, _insert(service, returned="created_at"), params)

    for row, (created_at,) in zip(rows, created, strict=True):
        row.created_at = created_at
        row.attempts = params["attempts"]


def insert_cte(service: Service, plan: Plan, row: OutboxRow) -> sql.CommonTableExpressions:
    """Return the insert of a row that is due at once, as the expression `written`."""
    statement = _insert(service, returned="*")
    params = _insert_params(plan, [row], leased=False)

    return sql.CommonTableExpressions(f"written AS ({statement})", params)


def claim(service: Service, *, limit: int, newest: bool = False) -> list[OutboxRow]:
    """Lease up to `limit` due rows, the oldest or the newest; the caller sends them."""
    statement = _lease(service, newest_first=newest)
    params = {"limit": limit, "lease": settings.SAGA_LEASE_SECONDS}

    return [_outbox_row(columns) for columns in sql.fetch(service.alias, statement, params)]


def mark_published(service: Service, rows: Sequence[OutboxRow]) -> None:
    """Mark rows as sent, unless another relay has leased them since."""
    if rows:
        sql.run(service.alias, _for_service(service, MARK_PUBLISHED), _leases(rows))


def release(service: Service, rows: Sequence[OutboxRow], *, error: str) -> None:
    """Make leased rows due at once, because the caller could not send them."""
    if rows:
        params = {**_leases(rows), "error": error}
        sql.run(service.alias, _for_service(service, RELEASE), params)


def republish(service: Service, *, sagas: Sequence[UUID] = (), ids: Sequence[UUID] = ()) -> int:
    """Make published rows due again, by saga or by id; return how many.

    A receiver that has done the step ignores the repeated message.
    """
    column, values = ("saga", sagas) if sagas else ("id", ids)
    if not values:
        return 0

    statement = REPUBLISH.format(outbox=service.outbox, column=column)
    return sql.run(service.alias, statement, {"values": sql.array_literal(values)})


@cache
def _insert(service: Service, *, returned: str) -> str:
    return INSERT.format(outbox=service.outbox, lease_end=sql.LEASE_END, returned=returned)


@cache
def _lease(service: Service, *, newest_first: bool) -> str:
    return sql.lease_statement(
        service.outbox,
        due="due_at",
        condition="published_at IS NULL",
        changes=["attempts = attempts + 1"],
        newest_first=newest_first,
        async_commit=True,
        returning=LEASED_COLUMNS,
    )


@cache
def _for_service(service: Service, statement: str) -> str:
    return statement.format(outbox=service.outbox, async_commit=sql.ASYNC_COMMIT)


def _insert_params(plan: Plan, rows: Sequence[OutboxRow], *, leased: bool) -> dict[str, Any]:
    return {
        "plan": to_json(plan),
        "lease": settings.SAGA_LEASE_SECONDS if leased else 0,
        "attempts": 1 if leased else 0,
        "rows": sql.json_rows(
            {name: getattr(row, name) for name in INSERTED_FIELDS} for row in rows
        ),
    }


def _leases(rows: Sequence[OutboxRow]) -> dict[str, str]:
    """Return what identifies the lease of each row: its id, and how often it has been leased."""
    return {
        "ids": sql.array_literal(row.id for row in rows),
        "attempts": sql.array_literal(row.attempts for row in rows),
    }


def _outbox_row(columns: Sequence[Any]) -> OutboxRow:
    """Return a row from the values of `LEASED_COLUMNS`."""
    *identity, data, context, plan, target, headers, created_at, attempts = columns
    id_, saga, started_at, seq, type_, step, step_attempt = identity

    return OutboxRow(
        id=id_,
        saga=saga,
        started_at=started_at,
        seq=seq,
        type=type_,
        step=step,
        step_attempt=step_attempt,
        data=msgspec.json.decode(data),
        context=msgspec.json.decode(context),
        plan=msgspec.json.decode(plan, type=Plan),
        target=target,
        headers=msgspec.json.decode(headers),
        created_at=created_at,
        attempts=attempts,
    )
