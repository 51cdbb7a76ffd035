"""Outcomes that a story gives to steps in place of their own code."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import msgspec

from sagas.definition import handlers
from sagas.definition.events import Refusal
from sagas.definition.handlers import (
    AsyncExternalStep,
    Batch,
    ExternalStep,
    Handler,
    Outcome,
    StepDefinition,
)

__all__ = ["Replacement", "Script", "declared_refusal", "substitute"]

REASON = "The story says so."

Produce = Callable[[], Outcome]


class Replacement:
    """The outcome of the next runs of a step. `times`: how many runs; None for all of them.

    `text` names the outcome in the told story. `after_call`: an external step calls its outside
    system, and only the answer is replaced.
    """

    def __init__(
        self, text: str, produce: Produce, *, times: int | None = None, after_call: bool = False
    ) -> None:
        self.text = text
        self.produce = produce
        self.after_call = after_call
        self._left = times

    def take(self) -> bool:
        """Use one run; return whether there was one left."""
        if self._left is None:
            return True
        self._left -= 1
        return self._left >= 0


class Script:
    """The replacements of one saga, by step, and the replacement that each step used last."""

    def __init__(self, saga: UUID) -> None:
        self._saga = saga
        self._replacements: dict[str, list[Replacement]] = {}
        self.used: Replacement | None = None

    def add(self, step: str, replacement: Replacement) -> None:
        """Replace the outcome of a step, once the earlier replacements of it are used up."""
        self._replacements.setdefault(step, []).append(replacement)

    def take(self, step: str, saga: UUID) -> Replacement | None:
        """Return the replacement for this run of a step, or None if its own code runs."""
        if saga != self._saga:
            return None
        left = self._replacements.get(step, [])
        while left:
            if left[0].take():
                self.used = left[0]
                return left[0]
            left.pop(0)
        return None

    @contextmanager
    def applied(self, step: str) -> Iterator[None]:
        """Let a step run as the script says while the context lasts."""
        self.used = None
        definition = handlers.definition(step)
        if definition is None or not self._replacements.get(step):
            yield
            return
        with handlers.substituted(substitute(definition, self)):
            yield


class TakesReplacement(Protocol):
    """Names the outcome of a run."""

    def take(self, step: str, saga: UUID) -> Replacement | None:
        """Return the replacement for this run of a step, or None if its own code runs."""


def declared_refusal(step: str, *, code: str = "refused", detail: str = REASON) -> Refusal:
    """Return the refusal that a step declares. Raises `ValueError` if it declares none."""
    definition = handlers.definition(step)
    if definition is None or definition.refusal is None:
        raise ValueError(f"{step} declares no refusal. Pass one: refuses(OutOfStock(…)).")
    return definition.refusal(code=code, detail=detail)


def substitute(definition: StepDefinition, script: TakesReplacement) -> StepDefinition:
    """Return a step that runs as the script says for its saga, and its own code for others."""
    original = definition.handler
    handler: Handler | ExternalStep[Any, Any, Any]
    if isinstance(original, AsyncExternalStep):
        handler = _AsyncSubstitute(definition.name, original, script)
    elif isinstance(original, ExternalStep):
        handler = _ExternalSubstitute(definition.name, original, script)
    else:
        handler = _local_substitute(definition.name, original, script)
    return msgspec.structs.replace(definition, handler=handler)


def _local_substitute(step: str, original: Handler, script: TakesReplacement) -> Handler:
    def handle_batch(batch: Batch[Any]) -> Sequence[Outcome]:
        replaced = {delivery.saga: script.take(step, delivery.saga) for delivery in batch}
        own = [delivery for delivery in batch if replaced[delivery.saga] is None]
        outcomes = _by_saga(own, original(own) if own else [])
        return [
            replacement.produce()
            if (replacement := replaced[delivery.saga])
            else outcomes[delivery.saga]
            for delivery in batch
        ]

    return handle_batch


class _Call(NamedTuple):
    """The request of one delivery: its replacement, and its own request if that is sent."""

    replacement: Replacement | None
    request: Any = None

    @property
    def is_sent(self) -> bool:
        return self.replacement is None or self.replacement.after_call


class _ExternalSubstitute(ExternalStep[Any, _Call, Any]):
    """An external step that asks its outside system only if the script lets it."""

    def __init__(
        self, step: str, original: ExternalStep[Any, Any, Any], script: TakesReplacement
    ) -> None:
        self.step = step
        self.original = original
        self.script = script

    def prepare(self, batch: Batch[Any]) -> list[_Call]:
        calls = {each.saga: _Call(self.script.take(self.step, each.saga)) for each in batch}
        own = [delivery for delivery in batch if calls[delivery.saga].is_sent]
        asked = _by_saga(own, self.original.prepare(own) if own else [])
        return [
            calls[delivery.saga]._replace(request=asked.get(delivery.saga)) for delivery in batch
        ]

    def call(self, requests: Sequence[_Call]) -> list[Any]:
        sent = [call.request for call in requests if call.is_sent]
        return _replace_answers(requests, self.original.call(sent) if sent else [])

    def record(self, batch: Batch[Any], answers: Sequence[Any]) -> list[Outcome]:
        answered = list(zip(batch, answers, strict=True))
        own = [pair for pair in answered if not isinstance(pair[1], Replacement)]
        recorded = self.original.record(*_columns(own)) if own else []
        outcomes = _by_saga([delivery for delivery, _ in own], recorded)
        return [
            answer.produce() if isinstance(answer, Replacement) else outcomes[delivery.saga]
            for delivery, answer in answered
        ]


class _AsyncSubstitute(_ExternalSubstitute, AsyncExternalStep[Any, _Call, Any]):
    """The same for a step that is called in an event loop."""

    async def call(self, requests: Sequence[_Call]) -> list[Any]:  # type: ignore[override]  # the engine awaits it
        sent = [call.request for call in requests if call.is_sent]
        original: Any = self.original
        return _replace_answers(requests, await original.call(sent) if sent else [])


def _replace_answers(calls: Sequence[_Call], answers: Sequence[Any]) -> list[Any]:
    """Return one answer for each call: its replacement, or its own answer."""
    own = iter(answers)
    found = [next(own) if call.is_sent else None for call in calls]
    return [call.replacement or answer for call, answer in zip(calls, found, strict=True)]


def _columns(answered: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return [delivery for delivery, _ in answered], [answer for _, answer in answered]


def _by_saga(batch: Batch[Any], values: Sequence[Any]) -> dict[UUID, Any]:
    return dict(zip((delivery.saga for delivery in batch), values, strict=True))
