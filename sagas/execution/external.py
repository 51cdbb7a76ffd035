"""The call of an external step to its outside system, between the two transactions of the step."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from sagas.definition.handlers import Delivery, ExternalStep, Outcome, Unknown
from sagas.definition.messages import Message
from sagas.execution.claiming import Claimed
from sagas.observability import instrumentation
from sagas.testing.failpoints import Point, reach

__all__ = ["Answered", "CallResult", "Record", "call_outside"]

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
    """The answers of a call, and the function that commits them and returns their outcomes."""

    answered: list[Answered]
    record: Record


def call_outside(
    handler: ExternalStep[Any, Any, Any],
    step: str,
    claimed: Sequence[Claimed],
    requests: Sequence[Any],
) -> CallResult:
    """Call the outside system. If the call raises, the outcome of every request is unknown, because
    the outside system may have acted before the error.
    """
    try:
        reach(Point.NOT_CALLED, step, claimed)
        with instrumentation.observe_call(step, claimed):
            answers = handler.call(requests)
        reach(Point.NOT_RECORDED, step, claimed)
    except Exception as error:
        logger.exception(
            "%s raised during its call for %d sagas, first %s."
            " Their outcome is unknown, and the step asks again",
            step,
            len(claimed),
            claimed[0].saga,
        )
        unknown = Unknown(reason=repr(error))
        return CallResult([Answered(item, unknown) for item in claimed], _as_outcomes)

    answered = [Answered(item, answer) for item, answer in zip(claimed, answers, strict=True)]
    return CallResult(answered, handler.record)


def _as_outcomes(_: Sequence[Delivery[Any]], answers: Sequence[Outcome]) -> Sequence[Outcome]:
    return answers
