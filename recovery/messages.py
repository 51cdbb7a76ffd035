"""Rebuilds the outbox and the inbox of payments or inventory from the timeline.

The timeline entry of an event has the id, the position and the data of its outbox row. The first
event of the saga, in the outbox of orders, has the context and the plan. From both follow the
target of the event and the state of its step.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from recovery.journal import FINAL, Event, Journal
from recovery.proofs import proven_events
from recovery.rows import (
    EntryToDelete,
    InboxState,
    RebuiltEvent,
    delete_entries,
    set_states,
    write,
)
from recovery.writes import Note, Plan, Write
from sagas.definition import handlers
from sagas.definition.events import STEP_SKIPPED
from sagas.definition.plan import Plan as SagaPlan
from sagas.definition.plan import service_name
from sagas.definition.results import with_result

__all__ = ["barred_pivot", "plan_messages", "state_after"]

REBUILT_EVENT = "outbox row rebuilt"
PROVEN_EVENT = "outbox row proven by a later message"
REBUILT_STATE = "inbox row rebuilt"
REPLACED_EVENT = "timeline entry of a lost event deleted"
CONFLICT = "step with two results"


def plan_messages(journal: Journal, service: str) -> Plan:
    """Plan the missing rows of a service's outbox and inbox for one saga.

    The events that are planned count as stored in the journal from then on. Nothing is planned for
    a purged saga, because no service has its messages.
    """
    plan = Plan()
    if journal.purged or journal.first is None:
        return plan

    for event in _lost_events(journal, service):
        if twin := _stored_twin(journal, event):
            plan.writes.append(_replaced(journal, event, twin))
            if twin.type != event.type:
                detail = f"{event.subject} wrote {event.type}, ran again and wrote {twin.type}"
                plan.notes.append(Note(kind=CONFLICT, subject=str(journal.saga), detail=detail))
        else:
            plan.writes.append(_rebuilt(journal, event, journal.first))
    for event in proven_events(journal, _plan_of(journal), service):
        journal.events.append(event)
        plan.writes.append(_rebuilt(journal, event, journal.first))
    journal.events = [
        event
        for event in journal.events
        if event.stored or event.service != service or not event.recorded
    ]

    for row in _expected_states(journal, service):
        _plan_state(plan, journal, service, row)
    return plan


def state_after(event: Event) -> str:
    """Return the state of the inbox row of the step that wrote an event."""
    return "refused" if event.is_refusal or event.type == STEP_SKIPPED else "done"


def barred_pivot(journal: Journal, plan: SagaPlan, service: str) -> str | None:
    """Return the pivot if it is in a service, and an event shows that it was barred there."""
    pivot = plan.pivot
    if pivot is None or service_name(pivot.name) != service or journal.event_of(pivot.name):
        return None
    cancels = [
        event
        for event in journal.changes(service)
        if event.seq > 0 and not event.step and event.target != plan.bar
    ]
    return pivot.name if cancels else None


def _lost_events(journal: Journal, service: str) -> list[Event]:
    lost = [event for event in journal.events if event.service == service and not event.stored]
    return sorted(lost, key=lambda event: (event.seq, str(event.id)))


def _stored_twin(journal: Journal, event: Event) -> Event | None:
    """Return the event that the step of a lost event has written since, if it ran again."""
    if not event.is_change:
        return None
    twins = (
        other
        for other in journal.changes(event.service)
        if other.stored and other.subject == event.subject
    )
    return next(twins, None)


def _replaced(journal: Journal, event: Event, twin: Event) -> Write:
    return Write(
        kind=REPLACED_EVENT,
        subject=str(journal.saga),
        detail=f"{event.type} {event.id}; {event.subject} ran again and wrote {twin.type}",
        apply=delete_entries,
        row=EntryToDelete(event.id),
    )


def _rebuilt(journal: Journal, event: Event, first: Event) -> Write:
    plan = _plan_of(journal)
    if not event.proven:
        event.target = _target_of(journal, plan, event)
        event.context = _context_of(journal, event, first)
        event.headers = first.headers
    event.stored = True
    row = RebuiltEvent(
        id=event.id,
        saga=journal.saga,
        started_at=journal.started_at,
        seq=event.seq,
        type=event.type,
        step=event.step,
        attempt=event.attempt,
        data=event.data,
        context=event.context or {},
        plan=plan,
        target=event.target,
        headers=event.headers,
        at=event.at,
        # A proven event is sent, so that the timeline gets it.
        sent=journal.ended and not event.proven,
    )
    return Write(
        kind=PROVEN_EVENT if event.proven else REBUILT_EVENT,
        subject=str(journal.saga),
        detail=f"{event.type} at position {event.seq}, next {event.target or 'nothing'}",
        apply=write(event.service),
        row=row,
    )


def _target_of(journal: Journal, plan: SagaPlan, event: Event) -> str | None:
    """Return the step that received the message of a lost event."""
    if not event.is_change:
        return None
    if not event.step:
        return plan.after_cancel()
    if event.step == plan.bar:
        return (
            None
            if _is_done(journal, plan.pivot.name if plan.pivot else "")
            else plan.after(event.step)
        )
    if event.is_refusal:
        return _target_of_refusal(journal, plan, event)
    return plan.after(event.step)


def _target_of_refusal(journal: Journal, plan: SagaPlan, event: Event) -> str:
    """Return the first undo after a refusal: the step's own one, if it was given up.

    The next event in the journal decides. Without one, the own undo runs, because it does nothing
    if there is nothing to undo.
    """
    own, before = plan.after_giving_up(event.step), plan.after_refusal(event.step)
    positions = {other.step: other.seq for other in journal.changes()}
    if positions.get(own) == event.seq + 1:
        return own
    return before if journal.has_reached(before) else own


def _context_of(journal: Journal, event: Event, first: Event) -> dict[str, Any]:
    """Return the context of a lost event: that of its request, with the failure if it refused, or
    with the result of its step.
    """
    request = journal.request(event.step, event.seq - 1) if event.step else None
    known: Mapping[str, Any] = (request.context if request else None) or first.context or {}
    definition = handlers.definition(event.step)
    is_done = event.is_change and state_after(event) == "done"
    if definition and definition.returns and is_done:
        return with_result(known, event.step, event.data)
    if event.is_refusal or (not event.step and event.seq > 0):
        failure = {"code": event.data.get("code", ""), "detail": event.data.get("detail", "")}
        return {"failure": failure, **known}
    return dict(known)


def _expected_states(journal: Journal, service: str) -> Iterator[InboxState]:
    """Yield the final states of a service's steps that follow from the stored events."""
    plan = _plan_of(journal)
    changes = [event for event in journal.changes(service) if event.stored]
    reported = {event.step for event in changes}

    for event in changes:
        if event.step:
            error = str(event.data.get("detail", "")) if event.is_refusal else ""
            yield _state(journal, event.step, state_after(event), event.attempt, error)

    for event in changes:
        action = plan.action_of(event.step) if event.step else None
        if action and service_name(action) == service and action not in reported:
            yield _state(journal, action, "refused", 0, f"Barred by {event.step}.")

    if pivot := barred_pivot(journal, plan, service):
        yield _state(journal, pivot, "refused", 0, "Barred by a cancel.")


def _state(journal: Journal, step: str, state: str, attempts: int, error: str) -> InboxState:
    return InboxState(
        saga=journal.saga,
        started_at=journal.started_at,
        step=step,
        state=state,
        attempts=attempts,
        error=error,
    )


def _plan_state(plan: Plan, journal: Journal, service: str, row: InboxState) -> None:
    present = journal.states.get(row.step)
    if present == row.state:
        return
    if present in FINAL:
        detail = f"{row.step} is {present}, but its event shows that it was {row.state}"
        note = Note(kind=CONFLICT, subject=str(journal.saga), detail=detail, blocking=True)
        plan.notes.append(note)
        return

    journal.states[row.step] = row.state
    journal.messages.pop(row.step, None)
    plan.writes.append(
        Write(
            kind=REBUILT_STATE,
            subject=str(journal.saga),
            detail=f"{row.step} is {row.state}" + (f" (was {present})" if present else ""),
            apply=set_states(service),
            row=row,
        )
    )


def _is_done(journal: Journal, step: str) -> bool:
    event = journal.event_of(step)
    return event is not None and not event.is_refusal


def _plan_of(journal: Journal) -> SagaPlan:
    if journal.plan is None:
        raise ValueError(f"No row of saga {journal.saga} has its plan.")
    return journal.plan
