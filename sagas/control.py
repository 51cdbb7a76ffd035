"""Operate a saga from code: hold it, release it, retry it, cancel it, or hold a step of all sagas.

`manage.py saga` does the same from a shell. Each call is safe to repeat: the second time it changes
nothing, or nothing more. If a database fails halfway, its error is raised; repeat the call then. No
call asks for a permission or writes a log. The caller does both.
"""

import logging
from collections.abc import Sequence
from typing import ClassVar, NamedTuple
from uuid import UUID

from sagas import sql
from sagas.definition.events import Refusal
from sagas.definition.hold_scope import HoldScope
from sagas.definition.plan import Plan, Saga
from sagas.delivery import wakeup
from sagas.delivery.task_signatures import task_signature
from sagas.kinds import find_saga, kind_of
from sagas.lifecycle import CancelResult
from sagas.models import TrackedSaga
from sagas.operations import holds
from sagas.operations.called_destinations import require_destination
from sagas.operations.hold_texts import release_first, waits_because, words
from sagas.operations.saga_rows import plan_of
from sagas.storage import inbox
from sagas.storage.registry import Service, get_service, service_of_step
from sagas.storage.signals import EARLY
from sagas.tracked import cancel as cancel_saga

__all__ = [
    "NOT_BY_OPERATOR",
    "CancelledByOperator",
    "ControlResult",
    "cancel",
    "cancel_event",
    "find",
    "hold",
    "hold_step",
    "release",
    "release_step",
    "retry",
]

logger = logging.getLogger(__name__)

OPEN_STEPS = """
SELECT id, step, state, send_at IS NULL,
       EXISTS (SELECT 1 FROM {hold} h WHERE h.saga = i.saga),
       EXISTS (SELECT 1 FROM {hold} h WHERE h.step = i.step),
       COALESCE((SELECT h.destination FROM {hold} h
                  WHERE h.calling_step = i.step AND h.destination = i.destination), '')
  FROM {inbox} i
 WHERE saga = %(saga)s AND state IN ('started', 'waiting', 'held') AND NOT ({early}) ORDER BY id
"""

CANCEL_TEXTS = {
    CancelResult.OURS: "Cancelling: the steps that were done are being undone.",
    CancelResult.REFUSED: "It was cancelled or refused before.",
    CancelResult.DONE: "Its pivot is done, so it can no longer be cancelled.",
    CancelResult.UNDECIDED: "Cancel requested: the service of the pivot decides whether it comes "
    "in time.",
}

NOT_BY_OPERATOR = "Its domain lets no operator cancel it now."


class CancelledByOperator(Refusal, frozen=True, kw_only=True):
    """An operator cancelled the saga. The reason stays in the operator's log."""

    type: ClassVar[str] = "saga.cancelled_by_operator"

    code: str = "cancelled_by_operator"
    detail: str = "Cancelled by an operator."


class ControlResult(NamedTuple):
    """Whether a call has changed anything, and its outcome in a sentence for the operator."""

    changed: bool
    text: str


class _OpenStep(NamedTuple):
    id: int
    step: str
    state: str
    parked: bool
    saga_on_hold: bool
    step_on_hold: bool
    # The destination of the step's calls, if it is on hold
    destination: str

    @property
    def scopes_on_hold(self) -> list[HoldScope]:
        """The holds for all sagas at which the step waits."""
        whole = [HoldScope(self.step)] if self.step_on_hold else []
        return whole + ([HoldScope(self.step, self.destination)] if self.destination else [])


def find(saga: UUID) -> TrackedSaga:
    """Return the tracked row of a saga, of any home and kind.

    Raises LookupError if no home has the saga, and the database's error if a home that may have it
    does not answer.
    """
    row = find_saga(saga)
    if row is None:
        raise LookupError(
            f"No home has a saga {saga}. Its id is the primary key of its tracked row."
        )
    return row


def hold(row: TrackedSaga, *, by: str, why: str) -> ControlResult:
    """Put a saga on hold in all its services: it stops before its next step, forward or back.

    `by` is the operator's name, and `why` the reason. Both are kept with the hold. A step that runs
    finishes first. Raises LookupError if the saga was never started.
    """
    # The home is written last, because its hold keeps the saga from being re-driven.
    services = _services(plan_of(row))
    written = [holds.hold(service, saga=row.pk, by=by, why=why) for service in services]

    row.refresh_from_db(fields=["ended_at"])
    if row.ended_at:
        for service in services:
            holds.release(service, saga=row.pk)
        return ControlResult(False, "It has ended, so there is nothing to hold.")
    if not any(written):
        return ControlResult(False, "It was already on hold.")

    running = [step.step for step in _open_steps(row, services) if step.state == "started"]
    exception = f" {', '.join(running)} is running and finishes first." if running else ""
    return ControlResult(True, f"On hold before its next step.{exception}")


def release(row: TrackedSaga) -> ControlResult:
    """Release a saga that is on hold, and send its held steps.

    A step stays held while it is on hold for all sagas, or its calls to its destination are. Raises
    LookupError if the saga was never started.
    """
    services = _services(plan_of(row))
    lifted = [holds.release(service, saga=row.pk) for service in reversed(services)]
    for service in services:
        if holds.resume_saga(service, row.pk):
            wakeup.request_flush(service.name)

    held = [step for step in _open_steps(row, services) if step.state == "held"]
    scopes = [scope for step in held for scope in step.scopes_on_hold]
    note = f" It still waits {waits_because(scopes)}." if scopes else ""
    if not any(lifted):
        return ControlResult(False, f"It was not on hold.{note}")
    return ControlResult(True, f"Released.{note}")


def retry(row: TrackedSaga) -> ControlResult:
    """Make the next attempt of each waiting step of a saga due now.

    Running and held steps are left alone. Raises LookupError if the saga was never started.
    """
    services = _services(plan_of(row))
    made_due = 0
    left: list[_OpenStep] = []
    for service in services:
        steps = _open_steps(row, [service])
        made_due += inbox.make_due_now(service, [step.id for step in steps]) if steps else 0
        left += steps
        wakeup.request_flush(service.name)

    if made_due:
        return ControlResult(True, f"{made_due} step{'s' if made_due > 1 else ''} made due now.")
    return ControlResult(False, _reason_for_no_retry(left))


def cancel_event(row: TrackedSaga) -> Refusal | None:
    """Return the event with which an operator cancels a saga.

    It is that of its kind (`sagas.kinds.SagaKind.cancellation`), or `CancelledByOperator` if its
    domain does not override that. None if the domain lets no operator cancel the saga now.
    """
    kind = kind_of(type(row))
    return kind.cancellation(row) if kind.decides_cancel else CancelledByOperator()


def cancel(row: TrackedSaga, event: Refusal | None = None) -> ControlResult:
    """Cancel a saga before its pivot, by default with its `cancel_event`.

    Raises ValueError if the saga has no pivot, and LookupError if it was never started.
    """
    if row.ended_at:
        return ControlResult(False, "It has ended, so there is nothing to cancel.")
    event = event or cancel_event(row)
    if event is None:
        return ControlResult(False, NOT_BY_OPERATOR)
    result = cancel_saga(row, event)
    changed = result in {CancelResult.OURS, CancelResult.UNDECIDED}
    return ControlResult(changed, CANCEL_TEXTS[result])


def hold_step(step: str, *, destination: str = "", by: str, why: str) -> ControlResult:
    """Put a step of all sagas on hold. A saga that runs it now finishes it first.

    With a destination, only the calls of the step to this outside system are on hold. It replaces
    an automatic hold. Raises LookupError if no service has the step's name, and ValueError if no
    call of the step can go to a destination of this name.
    """
    scope = HoldScope(step, destination)
    require_destination(scope)
    said = words(scope)
    written = [
        holds.hold(service, step=step, destination=destination, by=by, why=why)
        for service in _holding(step)
    ]
    if not any(written):
        return ControlResult(False, f"{said.subject} {said.was} already on hold.")
    if destination:
        return ControlResult(True, f"{said.subject} are on hold. Calls that run now finish first.")
    return ControlResult(
        True, f"{step} is on hold for all sagas. Sagas that run it now finish it first."
    )


def release_step(step: str, *, destination: str = "") -> ControlResult:
    """Release a step that is on hold for all sagas, and send its held messages in rounds.

    With a destination, release the calls of the step to it. Raises LookupError if no service has
    the step's name.
    """
    said = words(HoldScope(step, destination))
    lifted = [
        holds.release(service, step=step, destination=destination)
        for service in reversed(_holding(step))
    ]
    _send_held(service_of_step(step))
    if not any(lifted):
        return ControlResult(False, f"{said.subject} {said.was} not on hold.")
    return ControlResult(
        True, f"{said.subject} {said.be} released; {said.its} held messages are being sent."
    )


def _services(plan: Plan) -> list[Service]:
    """Return the services of a plan, the home last."""
    home_last = sorted(plan.services(), key=lambda name: (name == plan.home, name))
    return [get_service(name) for name in home_last]


def _holding(step: str) -> list[Service]:
    """Return the services that keep a hold on a step: its own first, then the homes of its sagas.

    The step's own service decides whether the step runs. The homes leave waiting sagas alone.
    """
    owner = service_of_step(step)
    homes = {saga.plan.home for saga in Saga.declared.values() if step in saga.plan.names()}
    return [owner, *(get_service(home) for home in sorted(homes - {owner.name}))]


def _open_steps(row: TrackedSaga, services: Sequence[Service]) -> list[_OpenStep]:
    steps: list[_OpenStep] = []
    for service in services:
        statement = OPEN_STEPS.format(inbox=service.inbox, hold=service.hold, early=EARLY)
        rows = sql.fetch(service.alias, statement, {"saga": row.pk})
        steps += [_OpenStep(*columns) for columns in rows]
    return steps


def _reason_for_no_retry(steps: Sequence[_OpenStep]) -> str:
    held = [step for step in steps if step.state == "held"]
    if any(step.saga_on_hold for step in held):
        return "The saga is on hold: release it first."
    if scopes := [scope for step in held for scope in step.scopes_on_hold]:
        return release_first(scopes)
    if held:
        return f"{held[0].step} waits, but its hold is released. It goes on within seconds."
    if parked := [step.step for step in steps if step.parked]:
        return (
            f"{', '.join(parked)} cannot be sent again from this row. Read its error: a purged saga"
            " needs a person; an unreadable message is sent again by “Publish again”."
        )
    return "No step is waiting for its next attempt."


def _send_held(service: Service) -> None:
    try:
        task_signature("release_held", service.name, queue=service.name).apply_async()
    except Exception as error:  # the broker's client raises many types; the hold is lifted
        logger.warning(
            "Could not queue sagas.release_held for %s; beat sends its held messages within"
            " seconds: %r",
            service.name,
            error,
        )
