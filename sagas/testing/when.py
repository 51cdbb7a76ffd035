"""The outcomes that a story may give to a step."""

from collections.abc import Callable
from typing import Generic, TypeVar

from sagas.definition import handlers
from sagas.definition.events import Event, Notice, Refusal
from sagas.definition.handlers import Outcome, Retry, Unknown, Waiting
from sagas.definition.plan import Plan
from sagas.testing.replacements import REASON, Replacement, Script, declared_refusal

__all__ = ["When"]

S = TypeVar("S")


class When(Generic[S]):
    """The outcome of one step, in place of its own code. Each method returns the story.

    `times`: how many runs of the step get this outcome. After them, the next outcome of the story
    applies, or the step's own code runs. Without it, all runs get it.
    """

    def __init__(self, story: S, *, plan: Plan, script: Script, step: str) -> None:
        self._story = story
        self._plan = plan
        self._script = script
        self._step = step

    def refuses(
        self, refusal: Refusal | None = None, *, code: str = "refused", detail: str = REASON
    ) -> S:
        """The step refuses. Without a `refusal`, it uses the refusal that the step declares.

        Raises `ValueError` for a step that may not refuse: an undo, or a step after the pivot.
        """
        if not self._plan.refusable(self._step):
            raise ValueError(
                f"{self._step} may not refuse, because it is an undo or comes after the pivot."
            )
        outcome = refusal or declared_refusal(self._step, code=code, detail=detail)
        return self._replace(f"refuses with {outcome.type}", outcome)

    def raises(self, error: Exception | type[Exception], *, times: int | None = None) -> S:
        """The step raises an error. Its own transaction is rolled back."""

        def produce() -> Outcome:
            raise error

        return self._add(f"raises {error!r}", produce, times=times)

    def unknown(self, *, times: int | None = None) -> S:
        """The outside system does not get the request, and the step cannot know that."""
        return self._replace("unknown", Unknown(reason=REASON), times=times)

    def loses_answer(self, *, times: int | None = 1) -> S:
        """The outside system acts on the request, and its answer is lost.

        Raises `ValueError` for a step that is no `ExternalStep`.
        """
        if not handlers.is_external(self._step):
            raise ValueError(f"{self._step} is no ExternalStep, so it has no answer to lose.")
        replacement = Replacement(
            "its answer is lost", lambda: Unknown(reason=REASON), times=times, after_call=True
        )
        self._script.add(self._step, replacement)
        return self._story

    def waits(
        self, *, times: int | None = None, pause: float = 0.0, notice: Notice | None = None
    ) -> S:
        """The outside system has not decided yet. `pause` is in seconds; the story skips it."""
        outcome = Waiting(reason=REASON, pause=pause, notice=notice)
        return self._replace("waits", outcome, times=times)

    def retries(self, *, times: int | None = None) -> S:
        """The step had no effect, and asks to be tried again."""
        return self._replace("asks for another try", Retry(reason=REASON), times=times)

    def succeeds(self, event: Event) -> S:
        """The step is done with this event, and its own code does not run.

        Raises `ValueError` for another event than the step returns to later steps.
        """
        definition = handlers.definition(self._step)
        returns = definition.returns if definition else None
        if returns and not isinstance(event, returns):
            raise ValueError(f"{self._step} returns {returns.__name__}, not {event!r}.")
        return self._replace(f"succeeds with {event.type}", event)

    def _replace(self, text: str, outcome: Outcome, *, times: int | None = None) -> S:
        return self._add(text, lambda: outcome, times=times)

    def _add(self, text: str, produce: Callable[[], Outcome], *, times: int | None) -> S:
        self._script.add(self._step, Replacement(text, produce, times=times))
        return self._story
