"""One saga as an operator reads it: the state of each step, the holds, the events, the failure.

Each service is asked about its own steps. A service that does not answer is named in `unknown`, and
its steps have the state `unknown`: an answer that is missing is never shown as "not reached".
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from django.db import router

from sagas import sql
from sagas.definition.hold_scope import HoldScope
from sagas.definition.plan import Plan, service_name
from sagas.models import TrackedSaga
from sagas.operations.saga_links import ChildLink, ParentLink, children_of, parent_of
from sagas.operations.saga_rows import plan_of
from sagas.storage.registry import Service, UnknownService, get_home, get_service
from sagas.storage.signals import EARLY

__all__ = ["Event", "HoldRow", "SagaDetails", "StepState", "details"]

T = TypeVar("T")

# Beside the states of the inbox.
NOT_REACHED, PURGED, UNKNOWN = "not reached", "purged", "unknown"

OPEN_STATES = {"started", "waiting", "held"}

# A wait that has only got an early signal has not begun.
STEPS = """
SELECT step, state, attempts, error, send_at, expires_at, destination FROM {inbox} i
 WHERE saga = %(saga)s AND NOT ({early}) ORDER BY id
"""

# Holds on the saga, on steps of its plan, and on the destinations that its steps have last called.
HOLDS = """
SELECT COALESCE(step, calling_step, ''), destination, since, by, why, automatic FROM {hold} h
 WHERE saga = %(saga)s OR step = ANY(%(steps)s)
    OR calling_step = ANY(%(steps)s)
       AND EXISTS (SELECT 1 FROM {inbox} i
                    WHERE i.saga = %(saga)s AND i.step = h.calling_step
                      AND i.destination = h.destination)
 ORDER BY since
"""

UNSENT = """
SELECT target FROM {outbox}
 WHERE saga = %(saga)s AND published_at IS NULL AND target IS NOT NULL ORDER BY id
"""

# The last refusal, as the messages that undo the saga carry it.
FAILURE = """
SELECT (context->'failure')::text FROM {outbox}
 WHERE saga = %(saga)s AND context ? 'failure' ORDER BY id DESC LIMIT 1
"""

# Rows of sagas that started before this time are purged.
PURGED_BEFORE = """
SELECT max(before) FROM {watermark}
 WHERE home IN ('', %(home)s) AND NOT %(saga)s::uuid = ANY(kept)
"""

EVENTS = """
SELECT type, service, step, attempt, at, detail::text FROM {timeline}
 WHERE saga = %(saga)s ORDER BY at, seq, id
"""


class StepState(msgspec.Struct, frozen=True, kw_only=True):
    """A step of the plan. `part` is action, branch, pivot, undo, bar or abort.

    A branch runs at the same time as the other branches of its group, whose number is `group`.

    `state` is that of its inbox row, or `not reached`, `purged` or `unknown`. `due_at` is the next
    attempt of an open step; None if only a person or a release can move it. `expires_at` is the end
    of a wait for a signal, or the time of a timer. `destination` is the outside system of the last
    call or hold of an external step; empty if it is not known.
    """

    step: str
    part: str
    service: str
    state: str
    attempts: int = 0
    error: str = ""
    due_at: datetime | None = None
    expires_at: datetime | None = None
    group: int | None = None
    destination: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the step has begun and is not over."""
        return self.state in OPEN_STATES


class HoldRow(msgspec.Struct, frozen=True, kw_only=True):
    """A hold in one service. `step` is empty in a hold on the saga itself. With a `destination`,
    only the calls of the step to it are on hold.
    """

    service: str
    step: str
    since: datetime
    by: str
    why: str
    automatic: bool
    destination: str = ""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the timeline."""

    type: str
    service: str
    step: str
    attempt: int
    at: datetime
    detail: dict[str, Any]


class SagaDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the services know about a saga.

    `unsent` are the steps whose message no relay has sent yet. `failure` has the code and the
    detail of the last refusal. `unknown` names the services that did not answer. `parent` has
    started this saga, and `children` are started by its steps.
    """

    id: UUID
    home: str
    kind: str
    saga: str
    started_at: datetime
    ended_at: datetime | None
    needs_attention: bool
    redrives: int
    rescue_at: datetime
    waits_until: datetime | None
    deadline_at: datetime | None
    on_hold: str
    steps: list[StepState]
    holds: list[HoldRow]
    unsent: list[str]
    events: list[Event]
    failure: dict[str, Any] | None
    unknown: list[str]
    parent: ParentLink | None = None
    children: list[ChildLink] = []

    @property
    def saga_holds(self) -> list[HoldRow]:
        """The holds on the saga itself, one in each service."""
        return [hold for hold in self.holds if not hold.step]

    def scopes_on_hold(self, step: StepState) -> list[HoldScope]:
        """Return the holds for all sagas that stop a step: the step, or the calls to its
        destination.
        """
        return [
            HoldScope(hold.step, hold.destination)
            for hold in self.holds
            if hold.step == step.step and hold.destination in ("", step.destination)
        ]


def details(row: TrackedSaga) -> SagaDetails:
    """Read the details of a saga from all its services. Raises LookupError if it has no plan."""
    reader = _Reader(row, plan_of(row))
    names = sorted(reader.plan.services())
    events = reader.at_home(_events)

    return SagaDetails(
        id=row.pk,
        home=reader.plan.home,
        kind=type(row).__name__,
        saga=reader.plan.saga,
        started_at=row.created_at,
        ended_at=row.ended_at,
        needs_attention=row.needs_attention,
        redrives=row.redrives,
        rescue_at=row.rescue_at,
        waits_until=row.waits_until,
        deadline_at=row.deadline_at,
        on_hold=row.on_hold,
        steps=list(_steps(reader)),
        holds=[hold for name in names for hold in reader.ask(name, _holds) or ()],
        unsent=[step for name in names for step in reader.ask(name, _unsent) or ()],
        events=events or [],
        failure=_failure(reader, events or []),
        parent=parent_of(row),
        children=[each for name in names for each in reader.ask(name, _children) or ()],
        unknown=sorted(reader.unknown),
    )


class _Reader:
    """Asks the services of one saga. A service that failed once is not asked again."""

    def __init__(self, row: TrackedSaga, plan: Plan) -> None:
        self.row = row
        self.plan = plan
        self.unknown: set[str] = set()

    def ask(self, name: str, question: "Callable[[_Reader, Service], T]") -> T | None:
        """Return the answer of a service; None if it does not answer."""
        if name in self.unknown:
            return None
        try:
            return question(self, get_service(name))
        except (*sql.DATABASE_ERRORS, UnknownService):
            self.unknown.add(name)
            return None

    def at_home(self, question: "Callable[[_Reader, Service], T]") -> T | None:
        return self.ask(self.plan.home, question)


def _steps(reader: _Reader) -> Iterator[StepState]:
    rows = {name: reader.ask(name, _rows) for name in sorted(reader.plan.services())}
    missing = {name: reader.ask(name, _missing) or UNKNOWN for name in rows}
    groups = _groups(reader.plan)
    for step, part in _parts(reader.plan):
        service = service_name(step)
        found = rows[service]
        nothing = (missing[service], 0, "", None, None, "")
        row = (found or {}).get(step) or nothing
        state, attempts, error, due_at, expires_at, destination = row
        yield StepState(
            step=step,
            part=part,
            service=service,
            state=UNKNOWN if found is None else state,
            attempts=attempts,
            error=error,
            due_at=due_at if state in OPEN_STATES else None,
            expires_at=expires_at,
            group=groups.get(step),
            destination=destination,
        )


def _groups(plan: Plan) -> dict[str, int]:
    """Return the number of the group of each branch, from 1 on."""
    groups = [stage for stage in plan.stages if len(stage) > 1]
    return {step.name: number for number, stage in enumerate(groups, start=1) for step in stage}


def _parts(plan: Plan) -> Iterator[tuple[str, str]]:
    groups = _groups(plan)
    for step in plan.actions:
        ordinary = "branch" if step.name in groups else "action"
        yield step.name, "pivot" if step.pivot else ordinary
        if step.bar:
            yield step.bar, "bar"
    for step in reversed(plan.actions):
        if step.undo:
            yield step.undo, "undo"
    yield plan.abort, "abort"


def _rows(reader: _Reader, service: Service) -> dict[str, tuple[Any, ...]]:
    statement = STEPS.format(inbox=service.inbox, early=EARLY)
    rows = sql.fetch(service.alias, statement, {"saga": reader.row.pk})
    return {step: tuple(columns) for step, *columns in rows}


def _missing(reader: _Reader, service: Service) -> str:
    """Return the state of a step without an inbox row."""
    statement = PURGED_BEFORE.format(watermark=service.watermark)
    params = {"home": reader.plan.home, "saga": reader.row.pk}
    [(before,)] = sql.fetch(service.alias, statement, params)
    is_purged = before is not None and reader.row.created_at < before
    return PURGED if is_purged else NOT_REACHED


def _holds(reader: _Reader, service: Service) -> list[HoldRow]:
    statement = HOLDS.format(hold=service.hold, inbox=service.inbox)
    # The home has a copy of each hold on a step. The hold of the step's own service counts.
    steps = [step for step in reader.plan.names() if service_name(step) == service.name]
    params = {"saga": reader.row.pk, "steps": steps}
    return [
        HoldRow(
            service=service.name,
            step=step,
            destination=destination,
            since=since,
            by=by,
            why=why,
            automatic=automatic,
        )
        for step, destination, since, by, why, automatic in sql.fetch(
            service.alias, statement, params
        )
    ]


def _children(reader: _Reader, service: Service) -> list[ChildLink]:
    return list(children_of(reader.row.pk, reader.plan, service=service.name))


def _unsent(reader: _Reader, service: Service) -> list[str]:
    statement = UNSENT.format(outbox=service.outbox)
    return [step for (step,) in sql.fetch(service.alias, statement, {"saga": reader.row.pk})]


def _events(reader: _Reader, _service: Service) -> list[Event]:
    home = get_home(reader.plan.home)
    alias = router.db_for_read(home.timeline)
    statement = EVENTS.format(timeline=home.timeline._meta.db_table)
    return [
        Event(
            type=type_,
            service=service,
            step=step,
            attempt=attempt,
            at=at,
            detail=msgspec.json.decode(detail),
        )
        for type_, service, step, attempt, at, detail in sql.fetch(
            alias, statement, {"saga": reader.row.pk}
        )
    ]


def _failure(reader: _Reader, events: list[Event]) -> dict[str, Any] | None:
    """Return the code and detail of the last refusal.

    The messages know it before the timeline does, but they are purged.
    """
    for name in sorted(reader.plan.services()):
        if failure := reader.ask(name, _sent_failure):
            return failure
    for event in reversed(events):
        if "code" in event.detail and "detail" in event.detail:
            return {"code": event.detail["code"], "detail": event.detail["detail"]}
    return None


def _sent_failure(reader: _Reader, service: Service) -> dict[str, Any] | None:
    statement = FAILURE.format(outbox=service.outbox)
    for (failure,) in sql.fetch(service.alias, statement, {"saga": reader.row.pk}):
        decoded: dict[str, Any] | None = msgspec.json.decode(failure)
        return decoded
    return None
