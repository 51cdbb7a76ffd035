"""Reading the context of a message, and the results in it, as the step's own struct."""

from collections.abc import Mapping
from typing import Any

import msgspec

from sagas.definition.handlers import StepDefinition
from sagas.definition.messages import Message
from sagas.definition.results import Facts, fields_for, reads_of

__all__ = ["UnreadableContext", "read_context"]


class UnreadableContext(Exception):
    """A step cannot read a context, because it was damaged or another release sent it."""


def read_context(
    definition: StepDefinition, message: Message, *, own: Mapping[str, Facts] | None = None
) -> Any:
    """Return a message's context as the type that its step accepts.

    `own` are results that this service knows without the message, by step. Raises
    `UnreadableContext`.
    """
    reads = reads_of(definition.accepts)
    fields = fields_for(message.context, reads, own) if reads else message.context
    try:
        return msgspec.convert(fields, definition.accepts, strict=True)
    except msgspec.ValidationError as error:
        raise UnreadableContext(f"{definition.name} cannot read its context: {error}") from error
