"""Joining: the step behind a parallel group runs once the messages of all branches have arrived."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from sagas.definition.messages import Message
from sagas.definition.plan import Plan
from sagas.definition.results import RESULTS, Facts, results_in
from sagas.execution.transactions import run_transaction
from sagas.storage import arrivals, inbox
from sagas.storage.registry import service_of_step

__all__ = ["gather"]


def gather(plan: Plan, step: str, messages: Sequence[Message]) -> list[Message]:
    """Record the messages that branches have sent to `step`; return the messages that may run.

    These are all messages that no branch has sent, and one message for each saga whose branches
    have all arrived. It has the results of all of them. Raises transient database errors.
    """
    parts = [message for message in messages if message.branch]
    if not parts:
        return list(messages)

    others = [message for message in messages if not message.branch]
    return [*others, *_joined(plan, step, parts)]


def _joined(plan: Plan, step: str, parts: Sequence[Message]) -> list[Message]:
    service = service_of_step(step)
    branches = plan.joined_by(step)
    run_transaction(service.alias, lambda: arrivals.record(service, plan, parts), step=step)

    by_saga = {part.saga: part for part in parts}
    found = run_transaction(
        service.alias, lambda: arrivals.arrived(service, branches, list(by_saga)), step=step
    )

    purged = [part for saga, part in by_saga.items() if part.branch not in found.get(saga, {})]
    if purged:
        inbox.park(service, step, plan, purged, reason=inbox.PURGED_REASON)

    return [
        _with_results(part, found[saga])
        for saga, part in by_saga.items()
        if found.get(saga, {}).keys() >= set(branches)
    ]


def _with_results(part: Message, arrived: Mapping[str, Facts | None]) -> Message:
    """Return the message to the joining step, with the results of all branches."""
    own = {branch: result for branch, result in arrived.items() if result is not None}
    results = {**results_in(part.context), **own}
    context = {**part.context, RESULTS: results} if results else part.context
    return replace(part, context=context, branch="")
