"""The walk of a saga through its plan: forward in order, back in reverse order, and nothing
twice.
"""

from collections.abc import Iterator
from itertools import pairwise

from audit.case import FINAL, Case
from sagas.definition.plan import Step, service_name

__all__ = [
    "cancelled_means_undone",
    "done_behind_what_is_done",
    "forward_in_the_order_of_the_plan",
    "timeline_is_what_happened",
    "undone_in_reverse_order",
    "undone_means_barred",
]


def undone_means_barred(case: Case) -> Iterator[str]:
    """Once an undo is done, its action is done or refused for ever; once a saga is aborted, its
    pivot is refused.
    """
    plan = case.order.plan
    for step in plan.steps:
        if step.undo and case.state(step.undo) == "done" and case.state(step.name) not in FINAL:
            yield f"{step.undo} is done, but {step.name} can still happen ({case.state(step.name) or 'not barred'})"
    pivot = plan.pivot
    aborted = case.state(plan.abort) == "done"
    if (
        aborted
        and pivot
        and service_name(pivot.name) == plan.home
        and case.state(pivot.name) != "refused"
    ):
        yield f"{plan.abort} is done, but {pivot.name} is {case.state(pivot.name) or 'not barred'}"


def undone_in_reverse_order(case: Case) -> Iterator[str]:
    """The walk that ended a cancelled saga undid its steps last to first."""
    positions = {step.undo: index for index, step in enumerate(case.order.plan.steps) if step.undo}
    undone = [event.step for event in case.last_walk() if event.step in positions]
    if undone != sorted(undone, key=lambda undo: -positions[undo]):
        yield f"was undone in the order {', '.join(undone)}"


def cancelled_means_undone(case: Case) -> Iterator[str]:
    """Everything that was done for a cancelled order was undone."""
    if case.cancelled:
        yield from (
            f"{step.name} is done, but {step.undo} is not"
            for step in _undoable(case)
            if _stands(case, step)
        )


def forward_in_the_order_of_the_plan(case: Case) -> Iterator[str]:
    """Each step forward is as many hops from the start as its place in the plan."""
    positions = {step.name: index for index, step in enumerate(case.order.plan.steps, start=1)}
    for event in case.events:
        if positions.get(event.step, event.seq) != event.seq:
            yield f"{event.type} of {event.step} is hop {event.seq}, not {positions[event.step]}"


def done_behind_what_is_done(case: Case) -> Iterator[str]:
    """No step forward is done of which the one before it is not: above all no pivot."""
    for before, after in pairwise(step.name for step in case.order.plan.steps):
        if case.state(after) == "done" and (state := case.state(before)) != "done":
            yield f"{after} is done, but {before}, which comes first, is {state or 'not known'}"


def timeline_is_what_happened(case: Case) -> Iterator[str]:
    """Every entry of the timeline is an event of an outbox, in its place."""
    events = {event.id: (event.seq, event.type) for event in case.events}
    for entry in case.timeline:
        if events.get(entry.id) != (entry.seq, entry.type):
            yield f"the timeline has {entry.type} as hop {entry.seq}, the outbox {events.get(entry.id) or 'has not'}"


def _undoable(case: Case) -> Iterator[Step]:
    return (step for step in case.order.plan.steps if step.undo)


def _stands(case: Case, step: Step) -> bool:
    return case.state(step.name) == "done" and case.state(step.undo) != "done"
