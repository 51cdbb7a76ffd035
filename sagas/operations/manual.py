"""Manual completion: an operator confirms that a step was done outside the system.

It commits the same rows as a successful run of the step:

- the domain's rows, by the rule that the domain declares (`ManualCompletion.record`),
- the inbox row with the confirmation, and the barred action of an undo,
- the event that carries the saga on.

A final row stays as it is, and a row that a worker has leased is refused. So the step is done once,
either by a worker or by hand.
"""

from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db import transaction

from sagas.definition import handlers
from sagas.definition.attempt import StepAttempt
from sagas.definition.handlers import (
    Delivery,
    ManualCompletion,
    ManualCompletionRefused,
    ManualConfirmation,
    StepDefinition,
)
from sagas.delivery.wakeup import request_flush
from sagas.execution.compensation import bar_action
from sagas.execution.contexts import UnreadableContext, read_context
from sagas.observability import instrumentation
from sagas.storage import inbox, outbox
from sagas.storage.inbox import LockedRow, StoredMessage
from sagas.storage.registry import service_of_step

__all__ = ["BY_HAND", "mark_done"]

# A key in the event's data, for all readers of the timeline. The name of the operator and the
# evidence stay in the inbox row.
BY_HAND = "by_hand"


class OpenStep(NamedTuple):
    """The message that the row of an open step keeps, and the number of its attempt."""

    stored: StoredMessage
    attempt: int


def mark_done(step: str, saga: UUID, confirmation: ManualConfirmation) -> None:
    """Mark a saga's open step as done, and publish what follows. Raises `ManualCompletionRefused`.

    If the same confirmation completed the step before, nothing changes.
    """
    definition = handlers.definition(step)
    if definition is None or definition.manual is None:
        raise ManualCompletionRefused(
            f"{step} cannot be marked as done: only a run of the step can tell whether it is done."
        )
    rule = definition.manual
    if rule.reference and not confirmation.reference:
        raise ManualCompletionRefused(
            f"{step} cannot be marked as done without the {rule.reference}. Enter it and try again."
        )

    service = service_of_step(step)
    with transaction.atomic(using=service.alias):
        row = inbox.lock(service, step, saga)
        if row is None or row.by_hand != msgspec.to_builtins(confirmation):
            _commit(definition, rule, _open_step(step, row), confirmation)
    request_flush(service.name)


def _commit(
    definition: StepDefinition,
    rule: ManualCompletion,
    row: OpenStep,
    confirmation: ManualConfirmation,
) -> None:
    """Complete the step in the caller's transaction.

    It locks rows in the same order as a run of the step: its own, the action's, the domain's.
    """
    step, (stored, attempt) = definition.name, row
    service = service_of_step(step)
    message = stored.message
    saga = message.saga

    inbox.mark_done(service, step, saga, confirmation)
    action = bar_action(service, stored.plan, step, [message])
    try:
        context = read_context(definition, message, own=action.results.get(saga))
    except UnreadableContext as error:
        raise ManualCompletionRefused(
            f"{error}. Publish the sender's message again, then mark the step as done."
        ) from error

    delivery = Delivery(
        saga=saga, context=context, attempt=attempt, action_done=saga in action.done
    )
    event = rule.record(delivery, confirmation)

    outbox_row = StepAttempt(stored.plan, step, message, attempt).done_row(
        event, target=stored.plan.after(step)
    )
    outbox_row.data = {**outbox_row.data, BY_HAND: True}
    outbox.write(service, stored.plan, [outbox_row], leased=False)
    instrumentation.record_outcomes(service.alias, step, [message], [event], [outbox_row])


def _open_step(step: str, row: LockedRow | None) -> OpenStep:
    """Return the message and attempt of a step's row. Refuse a row that is not open and free."""
    if row is None:
        raise ManualCompletionRefused(f"This saga has not reached {step} yet.")
    if row.state in {"done", "refused"}:
        raise ManualCompletionRefused(
            f"{step} is already {row.state}, so it cannot be marked as done."
        )
    if row.leased:
        raise ManualCompletionRefused(
            f"A worker is running {step} at this moment. Wait for its result, and look again."
        )
    if row.stored is None:
        raise ManualCompletionRefused(
            f"The inbox row of {step} keeps no message to continue the saga with. "
            "Publish the saga's messages again first."
        )
    stored = msgspec.json.decode(row.stored, type=StoredMessage)
    return OpenStep(stored, max(1, row.attempts))
