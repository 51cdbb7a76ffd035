"""The actions of an operator on a saga or on a step of all sagas, each with its preview."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from sagas import sql
from sagas.definition.hold_scope import HoldScope
from sagas.definition.plan import service_name
from sagas.models import TrackedSaga
from sagas.operations import holds
from sagas.operations.called_destinations import has_called, require_destination
from sagas.operations.hold_texts import release_first, waits_because, words
from sagas.operations.saga_details import SagaDetails, StepState, details
from sagas.operations.saga_rows import plan_of
from sagas.operations.table_stats import COUNT_LIMIT, count_in_words
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
        if self.row is not None:
            return f"saga {self.row.pk}"
        if self.destination:
            return f"calls of {self.scope}"
        return f"step {self.step}"


class Preview(NamedTuple):
    """The changes that an operation would make now, in sentences. `changes`: whether it makes any.

    `unknown` names the services that did not answer: the operation must not be applied then.
    """

    lines: list[str]
    changes: bool
    unknown: list[str]


def preview(operation: Operation) -> Preview:
    """Return the preview of an operation.

    Raises LookupError for an unknown service of a step, and ValueError for a hold of a destination
    that no call of the step can go to.
    """
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
    held = [step for step in known.steps if step.state == "held"]
    if held and known.saga_holds:
        return Preview(["The saga is on hold: release it first."], False, [])
    if scopes := [scope for step in held for scope in known.scopes_on_hold(step)]:
        return Preview([release_first(scopes)], False, [])
    if held:
        line = f"{held[0].step} waits, but its hold is released. It goes on within seconds."
        return Preview([line], False, [])
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
        held = [step for step in known.steps if step.state == "held"]
        scopes = [scope for step in held for scope in known.scopes_on_hold(step)]
        note = f" It waits {waits_because(scopes)}." if scopes else ""
        return Preview([f"The saga is not on hold.{note}"], False, [])
    lines = ["The saga goes on from where it stopped."]
    lines += [
        _after_release(step, known.scopes_on_hold(step))
        for step in known.steps
        if step.state == "held"
    ]
    return Preview(lines, True, [])


def _after_release(step: StepState, scopes: list[HoldScope]) -> str:
    if not scopes:
        return f"{step.step} runs at once."
    if HoldScope(step.step) in scopes:
        return f"{step.step} stays held, because the step is on hold for all sagas."
    return f"{step.step} stays held, because its calls to {step.destination} are on hold."


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
    if action == "hold":
        require_destination(scope)
    step, destination = scope
    said = words(scope)
    service = get_service(service_name(scope.step))
    statement = ON_STEP.format(hold=service.hold, inbox=service.inbox, of_scope=holds.OF_SCOPE)
    try:
        params = {**scope._asdict(), "most": COUNT_LIMIT}
        [(manual, on_hold, at_step, held)] = sql.fetch(service.alias, statement, params)
        is_known = not destination or action != "hold" or has_called(service, scope)
    except sql.DATABASE_ERRORS:
        return Preview([], False, [service.name])

    if action == "hold":
        if manual:
            return Preview([f"{said.subject} {said.be} on hold already."], False, [])
        lines = [
            f"Sagas stop before {step} calls {destination}."
            if destination
            else f"All sagas stop before {step}.",
            f"{_sagas(at_step)} are at {step} now. A running attempt finishes first.",
        ]
        if not is_known:
            lines.append(f"No call of {step} to {destination} is known: check the name.")
        return Preview(lines, True, [])
    if not on_hold:
        return Preview([f"{said.subject} {said.be} not on hold."], False, [])
    before = f"before {step} calls {destination}" if destination else f"at {step}"
    return Preview([f"{_sagas(held)} wait {before}, and go on."], True, [])


def _sagas(count: int) -> str:
    text = f"{count_in_words(count)} sagas"
    return text[0].upper() + text[1:]


ON_SAGA: Mapping[str, Callable[[SagaDetails], Preview]] = {
    "retry": _retry,
    "hold": _hold,
    "release": _release,
}
