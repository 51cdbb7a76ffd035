"""The call of an external step to its outside system, between the two transactions of the step."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from sagas.definition.handlers import AsyncExternalStep, Delivery, ExternalStep, Outcome, Unknown
from sagas.definition.messages import Message
from sagas.execution.claiming import Claimed
from sagas.failpoints import Point, reach
from sagas.observability import instrumentation
from sagas.observability.database_errors import hide_contents

__all__ = [
    "Answered",
    "CallResult",
    "Record",
    "call_outside",
    "call_outside_async",
    "unknown_result",
]

logger = logging.getLogger(__name__)

Record: TypeAlias = Callable[[Sequence[Delivery[Any]], Sequence[Any]], Sequence[Outcome]]


class Answered(NamedTuple):
    """A claimed message, and the answer of the outside system to its request."""

    claimed: Claimed
    answer: Any

    @property
    def message(self) -> Message:
        """The message that was claimed."""
        return self.claimed.message

    @property
    def delivery(self) -> Delivery[Any]:
        """The delivery that the handler sees."""
        return self.claimed.delivery


class CallResult(NamedTuple):
    """The answers of a call, and the function that commits them and returns their outcomes.

    `is_unknown`: there is no answer, so the outcome of every request is unknown.
    """

    answered: list[Answered]
    record: Record
    is_unknown: bool = False


def call_outside(
    handler: ExternalStep[Any, Any, Any],
    step: str,
    claimed: Sequence[Claimed],
    requests: Sequence[Any],
) -> CallResult:
    """Call the outside system, and wait for its answers. If the call raises, the outcome of every
    request is unknown, because the outside system may have acted before the error.
    """
    try:
        reach(Point.NOT_CALLED, step, claimed)
        with instrumentation.observe_call(step, claimed):
            if isinstance(handler, AsyncExternalStep):
                answers = asyncio.run(handler.call(requests))
            else:
                answers = handler.call(requests)
        reach(Point.NOT_RECORDED, step, claimed)
    except Exception as error:
        return _raised(step, claimed, error)
    return _result(handler, claimed, answers)


async def call_outside_async(
    handler: AsyncExternalStep[Any, Any, Any], step: str, claimed: Claimed, request: Any
) -> CallResult:
    """Call the outside system with one request, in an event loop, as `call_outside` does."""
    try:
        reach(Point.NOT_CALLED, step, [claimed])
        with instrumentation.observe_call(step, [claimed]):
            answers = await handler.call([request])
        reach(Point.NOT_RECORDED, step, [claimed])
    except Exception as error:
        return _raised(step, [claimed], error)
    return _result(handler, [claimed], answers)


def unknown_result(claimed: Sequence[Claimed], unknown: Unknown) -> CallResult:
    """Return the result of a call that has no answer."""
    answered = [Answered(item, unknown) for item in claimed]
    return CallResult(answered, _as_outcomes, is_unknown=True)


def _result(
    handler: ExternalStep[Any, Any, Any], claimed: Sequence[Claimed], answers: Sequence[Any]
) -> CallResult:
    answered = [Answered(item, answer) for item, answer in zip(claimed, answers, strict=True)]
    return CallResult(answered, handler.record)


def _raised(step: str, claimed: Sequence[Claimed], error: Exception) -> CallResult:
    hide_contents(error)
    logger.error(
        "%s raised during its call for %d sagas, first %s."
        " Their outcome is unknown, and the step asks again",
        step,
        len(claimed),
        claimed[0].saga,
        exc_info=error,
    )
    return unknown_result(claimed, Unknown(reason=repr(error)))


def _as_outcomes(_: Sequence[Delivery[Any]], answers: Sequence[Outcome]) -> Sequence[Outcome]:
    return answers
