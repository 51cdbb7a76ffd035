"""Reading the context of a message as the step's own struct."""

from typing import Any

import msgspec

from sagas.definition.handlers import StepDefinition
from sagas.definition.messages import Message

__all__ = ["UnreadableContext", "read_context"]


class UnreadableContext(Exception):
    """A step cannot read a context, because it was damaged or another release sent it."""


def read_context(definition: StepDefinition, message: Message) -> Any:
    """Return a message's context as the type that its step accepts. Raises `UnreadableContext`."""
    try:
        return msgspec.convert(message.context, definition.accepts, strict=True)
    except msgspec.ValidationError as error:
        raise UnreadableContext(f"{definition.name} cannot read its context: {error}") from error
