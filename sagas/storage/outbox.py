"""The outbox table: rows are written with the change, leased by the relay, and marked when sent."""

import logging
from collections.abc import Collection, Sequence
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

import msgspec

from sagas import sql
from sagas.conf import settings
from sagas.definition.messages import OutboxRow, Unreadable, decode_each, to_json
from sagas.definition.plan import Plan, service_name
from sagas.definition.sizes import MOST_BYTES_OF_ROW, MOST_CHARACTERS_OF_ERROR, EventTooLarge
from sagas.storage.registry import Service

__all__ = [
    "claim",
    "facts_of",
    "insert_cte",
    "mark_published",
    "newest",
    "of_saga",
    "release",
    "republish",
    "write",
]

logger = logging.getLogger(__name__)

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

# Condition: the row goes to no full queue
# The queues of its target, and of its timeline at another service. A row to a parallel group, which
# is an array among the steps of the plan, goes to the queues of all its branches.
NOT_CONGESTED = """NOT ARRAY[split_part(target, '.', 1),
       NULLIF(split_part(plan->>'abort', '.', 1), %(service)s)] && %(full)s::text[]
   AND NOT EXISTS (
     SELECT 1 FROM jsonb_array_elements(plan->'steps') s, jsonb_array_elements(
              CASE WHEN jsonb_typeof(s) = 'array' THEN s ELSE '[]' END) b
      WHERE s @> jsonb_build_array(jsonb_build_object('name', target))
        AND split_part(b->>'name', '.', 1) = ANY(%(full)s::text[]))"""

# All rows of a saga
OF_SAGA = "SELECT {columns} FROM {outbox} WHERE saga = %(saga)s ORDER BY created_at, seq, id"

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

# Park unreadable rows
# No relay takes the row until it is published again. A re-drive of its saga does so too; a row that
# is still unreadable is then parked again.
PARK = """
UPDATE {outbox} o
   SET due_at = timestamptz '9999-01-01', last_error = r.error
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(id uuid, error text)
 WHERE o.id = r.id AND o.published_at IS NULL
"""

# The last row of a saga
NEWEST = "SELECT {columns} FROM {outbox} WHERE saga = %(saga)s ORDER BY id DESC LIMIT 1"

# Whether a message to a step has been written
HAS_ROW = "SELECT 1 FROM {outbox} WHERE saga = %(saga)s AND target = %(target)s LIMIT 1"

# The facts of the event of a done step
# Of the rows of a step that is done, only that of its event has a target: notices have none.
FACTS = """
SELECT saga, data::text FROM {outbox}
 WHERE saga = ANY(%(sagas)s::uuid[]) AND step = %(step)s AND target IS NOT NULL
"""

# Publish rows again
# By their saga or by their id. A locked row is skipped: the relay is marking it as sent, or another
# session keeps it, and the next re-drive finds it.
REPUBLISH = """
UPDATE {outbox}
   SET published_at = NULL, due_at = clock_timestamp()
 WHERE id = ANY(ARRAY(SELECT id FROM {outbox} WHERE {column} = ANY(%(values)s::uuid[])
                       ORDER BY id FOR UPDATE SKIP LOCKED))
"""


def write(service: Service, plan: Plan, rows: Sequence[OutboxRow], *, leased: bool) -> None:
    """Insert rows of one plan in the caller's transaction, and set their `created_at`. Raises
    `EventTooLarge`.

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


def claim(
    service: Service,
    *,
    limit: int,
    newest: bool = False,
    full_queues: Collection[str] = (),
) -> list[OutboxRow]:
    """Lease up to `limit` due rows, the oldest or the newest; the caller sends them.

    Rows that go to one of `full_queues` stay due.

    Rows that cannot be decoded are parked: an operator sees the reason and can publish them again.
    """
    statement = _lease(service, newest_first=newest, is_congested=bool(full_queues))
    params = {
        "limit": limit,
        "lease": settings.LEASE_SECONDS,
        "full": sql.array_literal(full_queues),
        "service": service.name,
    }

    leased = sql.fetch(service.alias, statement, params)
    rows, unreadable = decode_each(leased, _outbox_row)
    if unreadable:
        _park(service, unreadable)
    return rows


def of_saga(service: Service, saga: UUID) -> list[OutboxRow]:
    """Return all rows of a saga, oldest first. Raises any error for a damaged row."""
    statement = OF_SAGA.format(outbox=service.outbox, columns=LEASED_COLUMNS)
    return [_outbox_row(columns) for columns in sql.fetch(service.alias, statement, {"saga": saga})]


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


def newest(service: Service, saga: UUID) -> OutboxRow | None:
    """Return the last row of a saga in a service, or None."""
    statement = NEWEST.format(outbox=service.outbox, columns=LEASED_COLUMNS)
    for row in sql.fetch(service.alias, statement, {"saga": saga}):
        return _outbox_row(row)
    return None


def has_row_to(service: Service, saga: UUID, target: str | None) -> bool:
    """Return whether a service has written a message of a saga to this step."""
    statement = HAS_ROW.format(outbox=service.outbox)
    return bool(sql.fetch(service.alias, statement, {"saga": saga, "target": target}))


def facts_of(service: Service, step: str, sagas: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """Return the facts of the event that a step wrote, for the sagas for which it is done.

    The step is an action with an undo, so that another step follows it.
    """
    statement = FACTS.format(outbox=service.outbox)
    params = {"sagas": sql.array_literal(sagas), "step": step}
    found = sql.fetch(service.alias, statement, params)
    return {saga: _object_decoder.decode(facts) for saga, facts in found}


@cache
def _insert(service: Service, *, returned: str) -> str:
    return INSERT.format(outbox=service.outbox, lease_end=sql.LEASE_END, returned=returned)


@cache
def _lease(service: Service, *, newest_first: bool, is_congested: bool) -> str:
    return sql.lease_statement(
        service.outbox,
        due="due_at",
        condition=f"published_at IS NULL AND {NOT_CONGESTED}"
        if is_congested
        else "published_at IS NULL",
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
        "lease": settings.LEASE_SECONDS if leased else 0,
        "attempts": 1 if leased else 0,
        "rows": _json_rows(rows),
    }


def _json_rows(rows: Sequence[OutboxRow]) -> str:
    """Return rows as a JSON parameter. Raises `EventTooLarge` for a row that no worker takes."""
    fields = [{name: getattr(row, name) for name in INSERTED_FIELDS} for row in rows]
    text = sql.json_rows(fields)
    if len(text) > MOST_BYTES_OF_ROW:
        for row, row_fields in zip(rows, fields, strict=True):
            size = len(to_json(row_fields).encode())
            if size > MOST_BYTES_OF_ROW:
                raise EventTooLarge(
                    f"Event {row.type} of saga {row.saga} and the saga's context have {size} bytes"
                    f" of JSON. The most is {MOST_BYTES_OF_ROW}: keep large data in a table of the"
                    " service, and its key in the event."
                )
    return text


def _leases(rows: Sequence[OutboxRow]) -> dict[str, str]:
    """Return what identifies the lease of each row: its id, and how often it has been leased."""
    return {
        "ids": sql.array_literal(row.id for row in rows),
        "attempts": sql.array_literal(row.attempts for row in rows),
    }


def _park(service: Service, unreadable: Sequence[Unreadable[tuple[Any, ...]]]) -> None:
    rows = []
    for (row_id, saga, *_), reason in unreadable:
        logger.error(
            "Outbox row %s of %s, of saga %s, cannot be read and is parked. Repair the row or"
            " deploy a release that can read it, then publish it again: %s",
            row_id,
            service.name,
            saga,
            reason,
        )
        error = f"This row cannot be read: {reason}"[:MOST_CHARACTERS_OF_ERROR]
        rows.append({"id": row_id, "error": error})

    statement = PARK.format(outbox=service.outbox)
    sql.run(service.alias, statement, {"rows": sql.json_rows(rows)})


_object_decoder = msgspec.json.Decoder(dict[str, Any])
_headers_decoder = msgspec.json.Decoder(dict[str, str])
_plan_decoder = msgspec.json.Decoder(Plan)


@lru_cache(maxsize=256)
def _plan(text: str) -> Plan:
    """Return the plan of a row. The rows of one text share it."""
    plan = _plan_decoder.decode(text)
    if not plan.actions or not plan.home:
        raise ValueError("The plan has no steps, or no home.")
    return plan


def _outbox_row(columns: Sequence[Any]) -> OutboxRow:
    """Return a row from the values of `LEASED_COLUMNS`. Raises any error for a damaged row."""
    *identity, data, context, plan_json, target, headers, created_at, attempts = columns
    id_, saga, started_at, seq, type_, step, step_attempt = identity

    plan = _plan(plan_json)
    if target is not None and not service_name(target):
        raise ValueError(f"The target {target!r} names no service.")

    return OutboxRow(
        id=id_,
        saga=saga,
        started_at=started_at,
        seq=seq,
        type=type_,
        step=step,
        step_attempt=step_attempt,
        data=_object_decoder.decode(data),
        context=_object_decoder.decode(context),
        plan=plan,
        target=target,
        headers=_headers_decoder.decode(headers),
        created_at=created_at,
        attempts=attempts,
    )
