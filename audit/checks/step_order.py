"""The order of the steps: forward as the plan says, back in reverse."""

from collections.abc import Iterator
from itertools import pairwise, product

from audit.snapshot import FINAL, SagaSnapshot
from sagas.definition.plan import Plan, Step, service_name

__all__ = [
    "cancelled_means_undone",
    "done_after_the_step_before",
    "forward_in_the_order_of_the_plan",
    "fulfilled_means_not_undone",
    "timeline_matches_the_outboxes",
    "undone_in_reverse_order",
    "undone_means_barred",
]


def undone_means_barred(order: SagaSnapshot) -> Iterator[str]:
    """Once an undo is done, its action is final. Once a saga is aborted, its pivot is refused."""
    plan = order.plan
    for step in plan.actions:
        if step.undo and order.state(step.undo) == "done" and order.state(step.name) not in FINAL:
            state = order.state(step.name) or "not barred"
            yield f"{step.undo} is done, but {step.name} can still run ({state})"

    pivot = plan.pivot
    aborted = order.state(plan.abort) == "done"
    if aborted and pivot and service_name(pivot.name) == plan.home:
        state = order.state(pivot.name) or "not barred"
        if state != "refused":
            yield f"{plan.abort} is done, but {pivot.name} is {state}"


def undone_in_reverse_order(order: SagaSnapshot) -> Iterator[str]:
    """The path that ended a cancelled saga undid its steps last to first."""
    positions = {step.undo: index for index, step in enumerate(order.plan.actions) if step.undo}
    undone = [event.step for event in order.final_path() if event.step in positions]
    if undone != sorted(undone, key=lambda undo: -positions[undo]):
        yield f"was undone in the order {', '.join(undone)}"


def cancelled_means_undone(order: SagaSnapshot) -> Iterator[str]:
    """Every step that was done for a cancelled order was undone."""
    if order.cancelled:
        yield from (
            f"{step.name} is done, but {step.undo} is not"
            for step in order.plan.actions
            if step.undo and _is_done_and_not_undone(order, step)
        )


def fulfilled_means_not_undone(order: SagaSnapshot) -> Iterator[str]:
    """No step of a fulfilled order was undone. A goodwill refund is no undo."""
    if order.fulfilled:
        yield from (
            f"is fulfilled, but {step.undo} is done"
            for step in order.plan.actions
            if step.undo and order.state(step.undo) == "done"
        )


def forward_in_the_order_of_the_plan(order: SagaSnapshot) -> Iterator[str]:
    """The event of a forward step has the step's position in the plan as its sequence number.

    The branches of a parallel group have one position.
    """
    stages = enumerate(order.plan.stages, start=1)
    positions = {step.name: index for index, stage in stages for step in stage}
    for event in order.events:
        position = positions.get(event.step, event.seq)
        if position != event.seq:
            yield f"{event.type} of {event.step} has position {event.seq}, expected {position}"


def done_after_the_step_before(order: SagaSnapshot) -> Iterator[str]:
    """No forward step is done if the step before it is not. Above all, no pivot is.

    A skipped step counts as done.
    """
    plan = order.plan
    for before, after in _that_follow(plan):
        state = order.state(before)
        is_skipped = plan.skippable(before) and state == "refused"
        if order.state(after) == "done" and state != "done" and not is_skipped:
            found = state or "missing from the inbox"
            yield f"{after} is done, but {before}, which comes first, is {found}"


def _that_follow(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield each action with each action that comes directly before it."""
    for earlier, later in pairwise(plan.stages):
        for before, after in product(earlier, later):
            yield before.name, after.name


def timeline_matches_the_outboxes(order: SagaSnapshot) -> Iterator[str]:
    """Every timeline entry has its event in an outbox, with the same position and type."""
    events = {event.id: event for event in order.events}
    for entry in order.timeline:
        event = events.get(entry.id)
        if event is None:
            yield f"the timeline has {entry.type} at position {entry.seq}, but no outbox has it"
        elif (event.seq, event.type) != (entry.seq, entry.type):
            yield (
                f"the timeline has {entry.type} at position {entry.seq}, "
                f"but the outbox has {event.type} at position {event.seq}"
            )


def _is_done_and_not_undone(order: SagaSnapshot, step: Step) -> bool:
    return order.state(step.name) == "done" and order.state(step.undo) != "done"
