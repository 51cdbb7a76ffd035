"""This release against the sagas in flight: steps and contexts that it could not handle.

Only steps that a saga may still run count: a step whose inbox row is final does not, and nor does
an undo once the pivot is done. The open sagas are read in batches. A service that does not answer
is named in `unknown`: then the result is never taken for a good one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from sagas import sql
from sagas.definition import handlers
from sagas.definition.messages import decode_each
from sagas.definition.plan import Direction, Plan, Saga, service_name
from sagas.definition.results import RESULTS, Facts
from sagas.operations import heartbeats
from sagas.operations.heartbeats import WorkerHeartbeat
from sagas.operations.readability import error_of
from sagas.storage.registry import (
    Home,
    UnknownService,
    get_home,
    get_service,
    home_names,
    service_names,
)

__all__ = ["InFlight", "MissingStep", "UnreadableContexts", "WorkerLack", "in_flight", "lacks"]

# Sagas or messages that one statement reads.
BATCH = 1_000

OPEN_SAGAS = "SELECT id FROM {tracked} WHERE ended_at IS NULL"

# The context of a saga is the fields of its first event.
PLANS = """
SELECT s.id, s.plan::text,
       (SELECT t.detail::text FROM {timeline} t WHERE t.saga = s.id ORDER BY t.seq, t.at LIMIT 1)
  FROM {tracked} s WHERE s.id = ANY(%(sagas)s::uuid[])
"""

# The results of the steps so far, in the newest message that a service has written.
RESULTS_SO_FAR = """
SELECT DISTINCT ON (saga) saga, (context->'results')::text FROM {outbox}
 WHERE saga = ANY(%(sagas)s::uuid[]) AND context ? 'results' ORDER BY saga, seq DESC, id DESC
"""

FINAL = """
SELECT saga, step, state FROM {inbox}
 WHERE saga = ANY(%(sagas)s::uuid[]) AND state IN ('done', 'refused')
"""

# The ids of the messages that are not done, by the indexes of open rows.
OPEN_ROWS = """
SELECT id FROM {inbox} WHERE state IN ('started', 'waiting') AND message IS NOT NULL
 UNION ALL
SELECT id FROM {inbox} WHERE state = 'held' AND message IS NOT NULL
"""
UNSENT_ROWS = "SELECT id FROM {outbox} WHERE published_at IS NULL AND target IS NOT NULL"

# The messages, with the context that the step will read. An outbox row also names its sender and
# the plan, because it may go to each branch of a parallel group, or come from one of them.
OF_INBOX = """
SELECT step, saga, (message->'message'->'context')::text, '', NULL FROM {inbox}
 WHERE id = ANY(%(ids)s::bigint[]) AND state IN ('started', 'waiting', 'held')
"""
OF_OUTBOX = """
SELECT target, saga, context::text, step, plan::text FROM {outbox}
 WHERE id = ANY(%(ids)s::uuid[]) AND target IS NOT NULL
"""

# The part that a refusal adds to a context.
FAILURE = {"failure": {"code": "", "detail": ""}}


class MissingStep(NamedTuple):
    """A step that open sagas may still run, and that this release does not register."""

    step: str
    sagas: int
    example: UUID


class UnreadableContexts(NamedTuple):
    """A step that cannot read the context of open sagas, and the error of one of them."""

    step: str
    sagas: int
    example: UUID
    error: str


class WorkerLack(NamedTuple):
    """A live worker that takes a queue, and the steps that it lacks there.

    `steps` is None if the worker's release does not send them. An empty `worker`: no worker is
    alive on the queue. `groups`: it cannot read the parallel groups of new sagas.
    """

    worker: str
    queue: str
    steps: list[str] | None
    groups: bool = False


class InFlight(NamedTuple):
    """The open sagas, and the steps that this release could not run for them.

    `needed` has the number of sagas that may still run each step.
    """

    sagas: int
    messages: int
    needed: Mapping[str, int]
    missing: list[MissingStep]
    unreadable: list[UnreadableContexts]
    unknown: list[str]


class _Tally:
    """For one step: the sagas that need it, and the sagas whose context it cannot read."""

    def __init__(self) -> None:
        self.sagas = 0
        self.messages = 0
        self.needed: dict[str, set[UUID]] = {}
        self.unreadable: dict[str, dict[UUID, str]] = {}
        self.unknown: set[str] = set()

    def need(self, step: str, saga: UUID, context: Any, *, pending: Set[str] = frozenset()) -> None:
        """Count a saga that may still run a step with this context.

        The steps in `pending` may add their results to it before.
        """
        self.needed.setdefault(step, set()).add(saga)
        definition = handlers.definition(step)
        if definition is None:
            return
        if error := error_of(definition, context, pending):
            self.unreadable.setdefault(step, {}).setdefault(saga, error)

    def fetch(self, name: str, statement: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Return the rows of a service's statement; none if it does not answer."""
        try:
            service = get_service(name)
            tables = statement.format(inbox=service.inbox, outbox=service.outbox)
            return sql.fetch(service.alias, tables, params)
        except (*sql.DATABASE_ERRORS, UnknownService):
            self.unknown.add(name)
            return []


def in_flight() -> InFlight:
    """Compare the steps of this process with all open sagas and messages."""
    tally = _Tally()
    for home in map(get_home, home_names()):
        try:
            for table in home.tables:
                _count_sagas(tally, home, table)
        except sql.DATABASE_ERRORS:
            tally.unknown.add(home.name)
    for name in service_names():
        _count_messages(tally, name)

    return InFlight(
        sagas=tally.sagas,
        messages=tally.messages,
        needed={step: len(sagas) for step, sagas in sorted(tally.needed.items())},
        missing=[
            MissingStep(step, len(sagas), min(sagas))
            for step, sagas in sorted(tally.needed.items())
            if handlers.definition(step) is None
        ],
        unreadable=[
            UnreadableContexts(step, len(errors), *next(iter(errors.items())))
            for step, errors in sorted(tally.unreadable.items())
        ],
        unknown=sorted(tally.unknown),
    )


def lacks(needed: Iterable[str]) -> list[WorkerLack]:
    """Return the queues without a live worker, and the live workers that lack a needed step.

    The steps of new sagas are needed as well. Raises RedisError if the heartbeats are not known.
    """
    declared = {name for saga in Saga.declared.values() for name in saga.plan.names()}
    by_queue: dict[str, set[str]] = {name: set() for name in service_names()}
    for step in declared.union(needed):
        by_queue.setdefault(service_name(step), set()).add(step)

    alive = [worker for worker in heartbeats.recent_heartbeats() if worker.alive]
    lacking = [
        lack for queue, steps in sorted(by_queue.items()) for lack in _on(queue, steps, alive)
    ]
    return [*lacking, *_of_groups(alive)]


def _on(queue: str, steps: set[str], alive: Sequence[WorkerHeartbeat]) -> Iterator[WorkerLack]:
    serving = [worker for worker in alive if queue in worker.queues]
    if not serving and steps:
        yield WorkerLack("", queue, sorted(steps))
    for worker in serving:
        if worker.steps is None:
            yield WorkerLack(worker.name, queue, None)
        elif lacking := sorted(steps - worker.steps):
            yield WorkerLack(worker.name, queue, lacking)


def _of_groups(alive: Sequence[WorkerHeartbeat]) -> Iterator[WorkerLack]:
    """Yield the workers that cannot read the plan of a new saga, because it has a group."""
    plans = [saga.plan for saga in Saga.declared.values() if saga.groups]
    queues = {name for plan in plans for name in plan.services()}
    for queue in sorted(queues):
        for worker in alive:
            if queue in worker.queues and not worker.reads_groups:
                yield WorkerLack(worker.name, queue, [], groups=True)


def _count_sagas(tally: _Tally, home: Home, table: str) -> None:
    opened = [saga for (saga,) in sql.fetch(home.alias, OPEN_SAGAS.format(tracked=table), {})]
    tally.sagas += len(opened)
    statement = PLANS.format(tracked=table, timeline=home.timeline._meta.db_table)
    for batch in _batches(opened):
        params = {"sagas": sql.array_literal(batch)}
        rows = sql.fetch(home.alias, statement, params)
        plans, damaged = decode_each(rows, _decoded)
        if damaged:
            tally.unknown.add(home.name)
        _count_plans(tally, plans)


def _decoded(row: tuple[Any, ...]) -> tuple[UUID, Plan, Any]:
    saga, plan, context = row
    decoded = None if context is None else msgspec.json.decode(context)
    return saga, msgspec.json.decode(plan, type=Plan), decoded


def _count_plans(tally: _Tally, plans: Sequence[tuple[UUID, Plan, Any]]) -> None:
    services = {name for _, plan, _ in plans for name in plan.services()}
    params = {"sagas": sql.array_literal(saga for saga, _, _ in plans)}
    final: dict[UUID, dict[str, str]] = {}
    results: dict[UUID, dict[str, Facts]] = {}
    for name in sorted(services.intersection(service_names())):
        for saga, step, state in tally.fetch(name, FINAL, params):
            final.setdefault(saga, {})[step] = state
        for saga, known in tally.fetch(name, RESULTS_SO_FAR, params):
            results.setdefault(saga, {}).update(msgspec.json.decode(known))

    for saga, plan, context in plans:
        remaining = _remaining(plan, final.get(saga, {}))
        known = results.get(saga, {})
        for step in remaining:
            given = _context_of(step, plan, context, known)
            tally.need(step, saga, given, pending=remaining - known.keys())


def _remaining(plan: Plan, final: Mapping[str, str]) -> set[str]:
    """Return the steps that a saga may still run."""
    names = set(plan.names()) - final.keys()
    pivot = plan.pivot
    if pivot is not None and final.get(pivot.name) == "done":
        names = {name for name in names if plan.direction(name) is Direction.FORWARD}
    return names


def _context_of(step: str, plan: Plan, context: Any, results: Mapping[str, Facts]) -> Any:
    if context is None:
        return None
    known = {**context, RESULTS: results} if results else context
    return {**known, **FAILURE} if plan.direction(step) is Direction.BACK else known


def _count_messages(tally: _Tally, name: str) -> None:
    for ids, contexts in ((OPEN_ROWS, OF_INBOX), (UNSENT_ROWS, OF_OUTBOX)):
        found = [row for (row,) in tally.fetch(name, ids, {})]
        tally.messages += len(found)
        for batch in _batches(found):
            params = {"ids": sql.array_literal(batch)}
            for target, saga, context, sender, plan in tally.fetch(name, contexts, params):
                given = msgspec.json.decode(context) if context else None
                steps, pending = _readers(target, sender, plan)
                for step in steps:
                    tally.need(step, saga, given, pending=pending)


def _readers(target: str, sender: str, plan_json: str | None) -> tuple[Sequence[str], Set[str]]:
    """Return the steps that read a message, and the branches whose results are not in it yet."""
    try:
        plan = None if plan_json is None else msgspec.json.decode(plan_json, type=Plan)
    except msgspec.DecodeError:  # the relay parks such a row
        plan = None
    if plan is None:
        return (target,), frozenset()
    branches = frozenset(plan.joined_by(target))
    return plan.recipients(target), branches - {sender} if sender in branches else frozenset()


def _batches(ids: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))
