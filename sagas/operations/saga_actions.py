"""The actions of an operator on a saga or on a step of all sagas, each with its preview."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from sagas import sql
from sagas.definition.hold_scope import HoldScope
from sagas.definition.plan import service_name
from sagas.models import TrackedSaga
from sagas.operations import holds
from sagas.operations.saga_details import SagaDetails, StepState, details
from sagas.operations.saga_rows import plan_of
from sagas.operations.table_stats import COUNT_LIMIT
from sagas.storage.registry import get_service

__all__ = ["Operation", "Preview", "preview"]

ON_STEP = """
SELECT (SELECT count(*) FROM {hold} WHERE {of_scope} AND NOT automatic),
       (SELECT count(*) FROM {hold} WHERE {of_scope}),
       (SELECT count(*) FROM (SELECT step FROM {inbox} WHERE state IN ('started', 'waiting')
                               ORDER BY send_at LIMIT %(most)s) open WHERE step = %(step)s),
       (SELECT count(*) FROM (SELECT 1 FROM {inbox}
                               WHERE state = 'held' AND step = %(step)s
                                 AND %(destination)s IN ('', destination) LIMIT %(most)s) held)
"""


class Operation(NamedTuple):
    """One action of an operator: retry, cancel, hold or release.

    It is on the saga of a tracked row, or without one on a step of all sagas. `by` is the
    operator's name, and `why` the reason. With a `destination`, it is on the calls of the step to
    it.
    """

    action: str
    row: TrackedSaga | None
    step: str
    by: str
    why: str
    destination: str = ""

    @property
    def scope(self) -> HoldScope:
        """The step, or its calls to a destination."""
        return HoldScope(self.step, self.destination)

    @property
    def subject(self) -> str:
        """The saga or the step, in words."""
        return f"saga {self.row.pk}" if self.row is not None else f"step {self.scope}"


class Preview(NamedTuple):
    """The changes that an operation would make now, in sentences. `changes`: whether it makes any.

    `unknown` names the services that did not answer: the operation must not be applied then.
    """

    lines: list[str]
    changes: bool
    unknown: list[str]


def preview(operation: Operation) -> Preview:
    """Return the preview of an operation. Raises LookupError for an unknown service of a step."""
    if operation.row is None:
        return _on_step(operation.action, operation.scope)

    known = details(operation.row)
    if known.unknown:
        return Preview([], False, known.unknown)
    if known.ended_at:
        return Preview(["The saga has ended, so there is nothing to do."], False, [])
    if operation.action == "cancel":
        return _cancel(operation.row, known)
    return ON_SAGA[operation.action](known)


def _retry(known: SagaDetails) -> Preview:
    waiting = [step for step in known.steps if step.state == "waiting" and step.due_at]
    if waiting:
        lines = [
            f"{step.step} is tried again now, after {step.attempts} attempts. {step.error}".strip()
            for step in waiting
        ]
        return Preview(lines, True, [])
    if held := [step.step for step in known.steps if step.state == "held"]:
        return Preview([f"{', '.join(held)} is on hold: release it first."], False, [])
    return Preview(["No step is waiting for its next attempt."], False, [])


def _hold(known: SagaDetails) -> Preview:
    if known.saga_holds:
        held = known.saga_holds[0]
        return Preview([f"It is on hold already, by {held.by}: {held.why}"], False, [])
    lines = ["The saga stops before its next step, forward or back."]
    lines += [f"{step.step} is running and finishes first." for step in _running(known)]
    return Preview(lines, True, [])


def _release(known: SagaDetails) -> Preview:
    if not known.saga_holds:
        note = f" It waits at {known.on_hold}, which is on hold." if known.on_hold else ""
        return Preview([f"The saga is not on hold.{note}"], False, [])
    on_hold = {hold.step for hold in known.holds if hold.step}
    lines = ["The saga goes on from where it stopped."]
    for step in known.steps:
        if step.state == "held":
            stays = "stays held, because the step is on hold for all sagas."
            lines.append(f"{step.step} {stays if step.step in on_hold else 'runs at once.'}")
    return Preview(lines, True, [])


def _cancel(row: TrackedSaga, known: SagaDetails) -> Preview:
    plan = plan_of(row)
    if plan.pivot is None:
        return Preview(["The saga has no pivot, so it cannot be cancelled."], False, [])

    pivot = next(step for step in known.steps if step.step == plan.pivot.name)
    if pivot.state == "done":
        return Preview([f"{pivot.step} is done, so it can no longer be cancelled."], False, [])
    if pivot.state == "refused":
        return Preview(["It was cancelled or refused before."], False, [])

    states = {step.step: step.state for step in known.steps}
    undos = [(step.name, step.undo) for step in reversed(plan.actions) if step.undo]
    lines = [f"{undo} undoes {step}, which is {states[step]}." for step, undo in undos]
    lines.append(f"{plan.abort} ends the saga.")
    if known.saga_holds:
        lines.append("The saga is on hold: its steps are undone after the release.")
    if pivot.is_open:
        lines.append(f"{pivot.step} has begun, so its result decides whether the cancel is late.")
    return Preview(lines, True, [])


def _running(known: SagaDetails) -> list[StepState]:
    return [step for step in known.steps if step.state == "started"]


def _on_step(action: str, scope: HoldScope) -> Preview:
    service = get_service(service_name(scope.step))
    statement = ON_STEP.format(hold=service.hold, inbox=service.inbox, of_scope=holds.OF_SCOPE)
    try:
        params = {**scope._asdict(), "most": COUNT_LIMIT}
        [(manual, on_hold, at_step, held)] = sql.fetch(service.alias, statement, params)
    except sql.DATABASE_ERRORS:
        return Preview([], False, [service.name])

    if action == "hold":
        if manual:
            return Preview([f"{scope} is on hold already."], False, [])
        return Preview(
            [
                f"All sagas stop before {scope}.",
                f"{at_step} sagas are at {scope.step} now. A running attempt finishes first.",
            ],
            True,
            [],
        )
    if not on_hold:
        return Preview([f"{scope} is not on hold."], False, [])
    return Preview([f"{held} sagas wait at {scope}, and go on."], True, [])


ON_SAGA: Mapping[str, Callable[[SagaDetails], Preview]] = {
    "retry": _retry,
    "hold": _hold,
    "release": _release,
}
