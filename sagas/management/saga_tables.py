"""Prints sagas and their details as lines of text, and as JSON."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from sagas.admin.formatting import without_private
from sagas.definition import handlers
from sagas.definition.hold_scope import HoldScope
from sagas.operations.saga_details import SagaDetails, StepState
from sagas.operations.saga_links import ChildLink
from sagas.operations.saga_list import ListedSaga, SagaPage

__all__ = ["as_json", "detail_lines", "page_lines"]

NOTHING = "–"


def as_json(value: SagaPage | SagaDetails) -> str:
    """Return a page or the details of a saga as indented JSON, without private fields."""
    plain = without_private(msgspec.to_builtins(value))
    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode()


def page_lines(page: SagaPage) -> Iterator[str]:
    """Yield a line for each saga of a page."""
    for saga in page.sagas:
        name = f"{saga.home}/{saga.saga or saga.kind}"
        yield f"{saga.id}  {_time(saga.started_at)}  {name}  {_state(saga)}  {_open_steps(saga)}"


def detail_lines(saga: SagaDetails) -> Iterator[str]:
    """Yield the lines of `show`: head, steps, holds, timeline."""
    yield from _head(saga)
    yield from ("", "Steps")
    for step in saga.steps:
        yield f"  {step.step:<28} {step.part:<7} {_step_state(step)}".rstrip()
    yield from ("", "Holds")
    yield from _holds(saga)
    yield from ("", "Timeline")
    yield from _timeline(saga)


def waits_for(saga: SagaDetails) -> str:
    """Return in words what a saga waits for, and until when."""
    if saga.ended_at:
        return "nothing: it has ended"
    reasons = []
    if saga.saga_holds:
        hold = saga.saga_holds[0]
        reasons.append(f"the release of its hold, by {hold.by}: {hold.why}")
    open_steps = [step for step in saga.steps if step.is_open]
    waited_for = {f"{child.step}{part}": child for child in saga.children for part in ("", ".undo")}
    reasons += [
        _child_reason(waited_for.get(step.step)) or _step_reason(step) for step in open_steps
    ]
    is_named = any(step.expires_at or step.step in waited_for for step in open_steps)
    if saga.waits_until and not is_named:
        reasons.append(f"a person or another system, as agreed until {_time(saga.waits_until)}")
    reasons += [f"the relay, which has not sent the message to {step} yet" for step in saga.unsent]
    if saga.unknown:
        reasons.append(f"unknown in {', '.join(saga.unknown)}")
    return "; ".join(reasons) or "a message under way: a lost one is sent again within seconds"


def _head(saga: SagaDetails) -> Iterator[str]:
    yield f"Saga       {saga.id}: {saga.saga} of {saga.home} ({saga.kind})"
    yield f"Started    {_time(saga.started_at)}"
    yield f"Ended      {_time(saga.ended_at)}"
    if saga.deadline_at and not saga.ended_at:
        yield f"Deadline   {_time(saga.deadline_at)}"
    yield f"Waits for  {waits_for(saga)}"
    if saga.parent:
        yield f"Parent     {saga.parent.id}, started by {saga.parent.step}"
    for child in saga.children:
        yield f"Child      {child.id} of {child.step}: {child.saga}, {child.state}"
    if saga.needs_attention:
        yield "Attention  It needs attention."
    if saga.redrives:
        yield f"Re-driven  {saga.redrives} times since its last progress"
    if saga.failure:
        yield f"Failure    {saga.failure['code']}: {saga.failure['detail']}"
    if saga.unknown:
        yield f"Unknown    the database of {', '.join(saga.unknown)} does not answer"


def _holds(saga: SagaDetails) -> Iterator[str]:
    for hold in saga.holds:
        on = str(HoldScope(hold.step, hold.destination)) or "the saga"
        by = f"{hold.by} (automatic)" if hold.automatic else hold.by
        yield f"  {on} in {hold.service} since {_time(hold.since)} by {by}: {hold.why}"
    if saga.unknown:
        yield f"  unknown in {', '.join(saga.unknown)}"
    elif not saga.holds:
        yield "  none"


def _timeline(saga: SagaDetails) -> Iterator[str]:
    if saga.home in saga.unknown:
        yield "  unknown"
    for event in saga.events:
        detail = msgspec.json.encode(without_private(event.detail)).decode()
        yield f"  {_time(event.at)}  {event.type}  {event.service}  {event.step}  {detail}"


def _child_reason(child: ChildLink | None) -> str:
    """Return in words that a step waits for a child that is open; empty if it does not."""
    if child is None or child.ended_at:
        return ""
    attention = ", which needs attention" if child.needs_attention else ""
    return f"the end of saga {child.id}, the child of {child.step}{attention}"


def _step_reason(step: StepState) -> str:
    if step.state == "started":
        return f"the result of {step.step}, which runs now"
    if step.state == "held":
        return f"the release of a hold at {step.step}"
    if step.expires_at and handlers.is_timer(step.step):
        return f"the time of {step.step}, {_time(step.expires_at)}"
    if step.expires_at:
        return f"a signal to {step.step}, until {_time(step.expires_at)}"
    return f"the next attempt of {step.step}, at {_time(step.due_at)}"


def _step_state(step: StepState) -> str:
    words = [step.state]
    if step.is_open and step.attempts:
        words.append(f"{step.attempts} attempts")
    if step.due_at:
        words.append(f"next {_time(step.due_at)}")
    if step.error and step.state != "done":
        words.append(step.error)
    return ", ".join(words)


def _state(saga: ListedSaga) -> str:
    if saga.ended_at:
        return "ended"
    flags: dict[str, Any] = {
        "needs attention": saga.needs_attention,
        "on hold": saga.on_hold,
        "stalled": saga.stalled,
        "waiting": saga.waits_until,
    }
    return ", ".join(name for name, is_set in flags.items() if is_set) or "open"


def _open_steps(saga: ListedSaga) -> str:
    return ", ".join(f"{step.step} {step.state}" for step in saga.steps) or NOTHING


def _time(moment: datetime | None) -> str:
    return NOTHING if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
