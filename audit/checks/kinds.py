"""Sagas of the kinds that are no orders: what their domains demand, and that they end."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from audit.checks.orders import MAX_HOLD_SECONDS
from audit.databases import fetch
from audit.invariant_types import AuditContext, TableResult, Violation
from audit.load_kinds import other_kinds
from audit.snapshot import SagaSnapshot
from sagas.kinds import SagaKind, SagaRecord, all_kinds
from sagas.storage.registry import get_home, get_service

__all__ = ["child_faults", "children_have_parents", "domain_invariants_hold", "no_saga_is_open"]

# Seconds that a step may take to go on after the end of its child.
MAX_DELAY_SECONDS = 600

# With the age of its hold, as in `audit.checks.orders`.
OPEN = """
SELECT s.{key}, extract(epoch FROM now() - s.created_at)::bigint,
       (SELECT extract(epoch FROM now() - min(h.since))::bigint FROM {hold} h
         WHERE h.saga = s.{key} OR s.on_hold <> '' AND s.on_hold IN (h.step, h.calling_step))
  FROM {tracked} s WHERE s.ended_at IS NULL ORDER BY 1
"""


# A child whose step has no row, and a step that waits on although its child has ended
# A row that is missing may be purged. A hold on the parent or on the step explains the waiting.
CHILDREN = """
SELECT c.{key}, c.parent_saga, c.parent_step, i.state,
       extract(epoch FROM now() - c.ended_at)::bigint
  FROM {tracked} c LEFT JOIN {inbox} i ON i.saga = c.parent_saga AND i.step = c.parent_step
 WHERE c.parent_saga IS NOT NULL{among}
   AND (i.id IS NULL
        AND c.created_at > COALESCE((SELECT max(before) FROM {watermark}), '-infinity')
        OR i.state IN ('started', 'waiting')
           AND c.ended_at < now() - make_interval(secs => %(age)s))
 ORDER BY 1
"""


def children_have_parents(context: AuditContext) -> Iterator[TableResult]:
    """A child has the step that started it, and the step goes on once the child has ended."""
    for kind in all_kinds():
        faults = child_faults(kind)
        yield TableResult(len(faults), f"{kind.plural} that other sagas started", faults)


def child_faults(kind: SagaKind, sagas: Sequence[UUID] | None = None) -> list[Violation]:
    """Return the children of a kind that lack their step, or whose step does not go on.

    `sagas`: the ids to look at; all of the kind if None.
    """
    service = get_service(kind.home)
    statement = CHILDREN.format(
        key=kind.key,
        tracked=kind.table,
        inbox=service.inbox,
        watermark=service.watermark,
        among="" if sagas is None else f"\n   AND c.{kind.key} = ANY(%(sagas)s::uuid[])",
    )
    params = {"age": MAX_DELAY_SECONDS, "sagas": list(sagas or ())}
    rows = fetch(get_home(kind.home).alias, statement, params)
    return [Violation(str(saga), _child_fault(*columns)) for saga, *columns in rows]


def _child_fault(parent: object, step: str, state: str | None, seconds: int | None) -> str:
    if state is None:
        return f"saga {parent} has no row of {step}, which started this one"
    return f"{step} of saga {parent} is still {state}, {seconds} s after the end of this saga"


def domain_invariants_hold(saga: SagaSnapshot) -> Iterator[str]:
    """The invariants hold that the domain of the saga's kind has declared."""
    if saga.kind is None or saga.tracked is None:
        return
    record = SagaRecord(
        row=saga.tracked,
        ended=saga.ended,
        undone=saga.cancelled,
        has_messages=saga.has_messages,
        steps={row.step: row.state for row in saga.steps},
        events=[event.type for event in saga.events],
    )
    yield from saga.kind.violations(record)


def no_saga_is_open(context: AuditContext) -> Iterator[TableResult]:
    """No saga is open where all should have ended; elsewhere the open ones are only counted."""
    for kind in other_kinds():
        home = get_home(kind.home)
        statement = OPEN.format(key=kind.key, hold=home.hold, tracked=kind.table)
        rows = fetch(home.alias, statement)
        violations = [
            Violation(str(saga), _still_open(kind.singular, age, hold_age))
            for saga, age, hold_age in rows
            if context.expect_ended and (hold_age is None or hold_age > MAX_HOLD_SECONDS)
        ]
        yield TableResult(len(rows), f"open {kind.plural}", violations)


def _still_open(noun: str, age: int, hold_age: int | None) -> str:
    held = "" if hold_age is None else f", on hold for {hold_age} s"
    return f"this {noun} is still open after {age} s{held}"
