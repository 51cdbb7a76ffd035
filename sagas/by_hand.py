"""Marking a step as done by hand: a person's word in the place of the step's own run, under the rules of its domain.

It commits what the step's success would: the domain's rows (`ByHand.record`), the inbox row with whose word it was, the
barred action of an undo, and the event that carries the saga on. A row that is final stays as it is, and one that a
worker has in hand is left to it; so the step is done once, whoever comes first.
"""

from typing import NamedTuple
from uuid import UUID

import msgspec
from django.db import transaction

from sagas import execution, inbox, observe, outbox, steps
from sagas.failures import Try
from sagas.inbox import Locked, Parcel
from sagas.nudge import nudge
from sagas.services import owner_of
from sagas.steps import ByHand, Delivery, NotByHand, StepDefinition, Word

__all__ = ["BY_HAND", "mark_done"]

# In the event, for everyone who reads the timeline; whose word it was, and on what evidence, stays in the inbox.
BY_HAND = "by_hand"


class Open(NamedTuple):
    """What the row of an open step keeps, and the attempt it is at."""

    parcel: Parcel
    attempt: int


def mark_done(step: str, saga: UUID, word: Word) -> None:
    """Mark a saga's open step as done, and send on what follows. Raises `NotByHand`.

    Done by the very same word already, it changes nothing.
    """
    definition = steps.definition(step)
    if definition is None or definition.by_hand is None:
        raise NotByHand(f"{step} cannot be marked as done: whether it is, only the step itself can tell.")
    rule = definition.by_hand
    if rule.reference and not word.reference:
        raise NotByHand(f"{step} cannot be marked as done without the {rule.reference}.")
    service = owner_of(step)
    with transaction.atomic(using=service.alias):
        row = inbox.lock(service, step, saga)
        if row is None or row.by_hand != msgspec.to_builtins(word):
            _commit(definition, rule, _open(step, row), word)
    nudge(service.name)


def _commit(definition: StepDefinition, rule: ByHand, row: Open, word: Word) -> None:
    """Do it in the caller's transaction. Locks as a run of the step does: its row, the action's, the domain's."""
    step, service, (parcel, attempt) = definition.name, owner_of(definition.name), row
    message = parcel.message
    saga = message.saga
    inbox.mark_done(service, step, saga, word)
    applied, _ = execution.bar_action(service, parcel.plan, step, [message])
    try:
        context = execution.read(definition, message)
    except execution.Unreadable as error:
        raise NotByHand(f"{error}. Publish the sender's message again first.") from error
    event = rule.record(Delivery(saga=saga, context=context, attempt=attempt, applied=saga in applied), word)
    envelope = Try(parcel.plan, step, message, attempt).envelope(event, target=parcel.plan.after(step))
    envelope.data = {**envelope.data, BY_HAND: True}
    outbox.write(service, parcel.plan, [envelope], leased=False)
    observe.settled(service.alias, step, [message], [event], [envelope])


def _open(step: str, row: Locked | None) -> Open:
    """Return what the row of a step keeps, if it is open and nobody's."""
    if row is None:
        raise NotByHand(f"This order has not come to {step}.")
    if row.state in {"done", "refused"}:
        raise NotByHand(f"{step} is {row.state} meanwhile: nothing is left to mark.")
    if row.in_hand:
        raise NotByHand(f"A worker has {step} in hand at this moment. Wait until it says what came of it.")
    if row.parcel is None:
        raise NotByHand(f"{step} keeps no message to carry the order on. Publish its messages again first.")
    return Open(msgspec.json.decode(row.parcel, type=Parcel), max(1, row.attempts))
