"""Marking a step as done by hand: a person's word in the place of the step's own run, under the
rules of its domain.

It commits what the step's success would: the domain's rows (`ManualCompletion.record`), the inbox
row with whose word it was, the barred action of an undo, and the event that carries the saga on. A
row that is final stays as it is, and one that a worker has in hand is left to it; so the step is
done once, whoever comes first.
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

# In the event, for everyone who reads the timeline; whose word it was, and on what evidence, stays
# in the inbox.
BY_HAND = "by_hand"


class Open(NamedTuple):
    """What the row of an open step keeps, and the attempt it is at."""

    stored: StoredMessage
    attempt: int


def mark_done(step: str, saga: UUID, confirmation: ManualConfirmation) -> None:
    """Mark a saga's open step as done, and send on what follows. Raises `ManualCompletionRefused`.

    Done by the very same word already, it changes nothing.
    """
    definition = handlers.definition(step)
    if definition is None or definition.manual is None:
        raise ManualCompletionRefused(
            f"{step} cannot be marked as done: whether it is, only the step itself can tell."
        )
    rule = definition.manual
    if rule.reference and not confirmation.reference:
        raise ManualCompletionRefused(
            f"{step} cannot be marked as done without the {rule.reference}."
        )
    service = service_of_step(step)
    with transaction.atomic(using=service.alias):
        row = inbox.lock(service, step, saga)
        if row is None or row.by_hand != msgspec.to_builtins(confirmation):
            _commit(definition, rule, _open(step, row), confirmation)
    request_flush(service.name)


def _commit(
    definition: StepDefinition, rule: ManualCompletion, row: Open, confirmation: ManualConfirmation
) -> None:
    """Do it in the caller's transaction. Locks as a run of the step does: its row, the action's,
    the domain's.
    """
    step, service, (stored, attempt) = definition.name, service_of_step(definition.name), row
    message = stored.message
    saga = message.saga
    inbox.mark_done(service, step, saga, confirmation)
    action = bar_action(service, stored.plan, step, [message])
    try:
        context = read_context(definition, message)
    except UnreadableContext as error:
        raise ManualCompletionRefused(
            f"{error}. Publish the sender's message again first."
        ) from error
    event = rule.record(
        Delivery(saga=saga, context=context, attempt=attempt, action_done=saga in action.done),
        confirmation,
    )
    envelope = StepAttempt(stored.plan, step, message, attempt).outbox_row(
        event, target=stored.plan.after(step)
    )
    envelope.data = {**envelope.data, BY_HAND: True}
    outbox.write(service, stored.plan, [envelope], leased=False)
    instrumentation.settled(service.alias, step, [message], [event], [envelope])


def _open(step: str, row: LockedRow | None) -> Open:
    """Return what the row of a step keeps, if it is open and nobody's."""
    if row is None:
        raise ManualCompletionRefused(f"This order has not come to {step}.")
    if row.state in {"done", "refused"}:
        raise ManualCompletionRefused(f"{step} is {row.state} meanwhile: nothing is left to mark.")
    if row.leased:
        raise ManualCompletionRefused(
            f"A worker has {step} in hand at this moment. Wait until it says what came of it."
        )
    if row.stored is None:
        raise ManualCompletionRefused(
            f"{step} keeps no message to carry the order on. Publish its messages again first."
        )
    return Open(msgspec.json.decode(row.stored, type=StoredMessage), max(1, row.attempts))
