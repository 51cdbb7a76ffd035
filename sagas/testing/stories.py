"""The story of one saga: a test says what its steps answer, lets it run, and says how it must end.

    story(PLACE, start).when("stock.reserve").refuses().run().expect(undone=["bank.charge"])

The real steps run in the test's process, through the real inbox and outbox on PostgreSQL. The story
takes the place of the broker: it delivers each message itself, in an order that the test controls.
It works within the transaction of Django's `TestCase`, and also where a test commits.
"""

from collections.abc import Callable, Sequence
from random import Random
from types import EllipsisType
from uuid import UUID

from sagas.definition import handlers
from sagas.definition.child_rules import child_id
from sagas.definition.events import Event, Refusal
from sagas.definition.plan import Saga
from sagas.models import TrackedSaga
from sagas.storage import timeline
from sagas.storage.registry import get_home
from sagas.testing.expectations import Expectation, contradictions, known_end
from sagas.testing.in_process import run_step, without_broker
from sagas.testing.mailbox import (
    Delivery,
    EntryDelivery,
    Mailbox,
    StepDelivery,
    TakenRow,
    deliveries_of,
)
from sagas.testing.record import Record
from sagas.testing.replacements import Script
from sagas.testing.subject import (
    Subject,
    id_of,
    let_deadline_pass,
    require_handlers,
    stored_plan,
    tracked_row,
)
from sagas.testing.when import When
from sagas.tracked import cancel
from sagas.waits import SignalResult, signal

__all__ = ["Story", "story"]


def story(saga: Saga, subject: Subject) -> "Story":
    """Begin the story of a saga.

    `subject` is the saga's id or its tracked row, or a function that starts the saga and returns
    either. Where the test commits, pass a function: otherwise the start wakes the relay, which
    looks for a broker. Raises `LookupError` if no such saga has started, or no handler is
    registered for one of its steps.
    """
    with without_broker():
        started = subject() if callable(subject) else subject
    return Story(saga, id_of(started))


class Story:
    """A saga under the control of a test. Each method returns the story, for the next one."""

    def __init__(self, declaration: Saga, saga: UUID) -> None:
        self.saga = saga
        self._declared = declaration
        self.plan = stored_plan(declaration, saga)
        require_handlers(self.plan)

        self._mailbox = Mailbox(saga, self.plan)
        self._script = Script(saga)
        self._record = Record(self.plan, self._mailbox.states())
        self._pending: list[Delivery] = []
        self._choose: Callable[[int], int] = _oldest
        self._repeats = False
        self.events: list[str] = []
        self.signal_results: list[SignalResult] = []
        self._take()

    def when(self, step: str) -> "When[Story]":
        """Replace the outcome of a step: `when("stock.reserve").refuses()`.

        Raises `ValueError` if the plan has no such step.
        """
        if step not in self.plan.names():
            is_left_out = self._declared.conditions and step in self._declared.plan.names()
            reason = "Its condition was false at the start. " if is_left_out else ""
            raise ValueError(
                f"This saga {self.plan.saga!r} has no step {step!r}. {reason}"
                f"Its steps are: {', '.join(self.plan.names())}."
            )
        return When(self, plan=self.plan, script=self._script, step=step)

    def in_any_order(self, seed: int) -> "Story":
        """Deliver the messages that are under way in an order drawn from a seed."""
        self._choose = Random(seed).randrange  # noqa: S311  not a secret
        return self

    def newest_first(self) -> "Story":
        """Deliver the newest message first, so that a cancel overtakes the way forward."""
        self._choose = lambda count: count - 1
        return self

    def with_duplicates(self) -> "Story":
        """Deliver each message twice, as a broker may."""
        self._repeats = True
        return self

    def run(self, *, until: str | None = None, attempts: int | None = None) -> "Story":
        """Deliver messages until none is left, or until the step `until` is done or refused.

        Time passes at once: a step that fails, waits or has an unknown outcome runs again. In one
        call it runs at most `attempts` times (default: the `tries` of its policy). A wait for a
        signal and a timer stay open: see `signals` and `expires`. Raises `AssertionError` if the
        step `until` never gets there.
        """
        runs: dict[str, int] = {}
        while not self._is_final(until) and (delivery := self._next(runs, attempts)):
            if isinstance(delivery, StepDelivery):
                runs[delivery.step] = runs.get(delivery.step, 0) + 1
            self._deliver(delivery)

        if until and not self._is_final(until):
            raise AssertionError(f"The saga never came to the end of {until!r}.\n\n{self}")
        return self

    def then(self, act: Callable[[], object]) -> "Story":
        """Do something in the middle of the story, such as a cancel by a customer."""
        with without_broker():
            act()
        self._take()
        return self

    def cancel(self, refusal: Refusal) -> "Story":
        """Cancel the saga before its pivot, as `sagas.cancel` does."""
        return self.then(lambda: cancel(self.tracked, refusal))

    def signals(self, step: str, event: Event, *, by: str = "story", why: str = "") -> "Story":
        """Answer a wait, as `sagas.signal` does: before it begins, while it waits, or again.

        Its result is added to `signal_results`. Raises `LookupError` and `WrongSignal`.
        """

        def answer() -> None:
            self.signal_results.append(signal(self.tracked, step, event, by=by, why=why))

        return self.then(answer)

    def expires(self, step: str) -> "Story":
        """Let the time of an open wait run out, or that of a timer come. The next `run` notes it.

        Raises `AssertionError` if the saga does not wait there.
        """
        if not self._mailbox.expire(step):
            raise AssertionError(
                f"The saga waits neither for a signal nor for a time at {step!r}.\n\n{self}"
            )
        return self

    def child(self, step: str) -> "Story":
        """Begin the story of the saga that a step has started.

        Its steps run in that story. Run this one again after its end. Raises `ValueError` if the
        step starts no child, and `LookupError` if it has not started it.
        """
        definition = handlers.definition(step)
        if definition is None or definition.child is None:
            raise ValueError(f"The step {step!r} starts no child.")
        return Story(definition.child.saga, child_id(self.saga, step))

    def at_deadline(self) -> "Story":
        """Let the deadline of the saga pass here, as the periodic re-drive would find it.

        While an outside pivot is undecided, it does nothing, and stays: call this again later.
        Raises `ValueError` if the saga has no deadline, or if it has acted.
        """
        return self.then(lambda: let_deadline_pass(self.plan.home, self.saga))

    def expect(  # noqa: PLR0913  all by keyword
        self,
        *,
        ended: str | EllipsisType | None = ...,
        done: Sequence[str] | None = None,
        undone: Sequence[str] | None = None,
        refused: Sequence[str] | None = None,
        skipped: Sequence[str] | None = None,
        waiting: Sequence[str] | None = None,
        needs_attention: bool | None = None,
    ) -> "Story":
        """Compare the saga with its expected state. An argument that is not given is not compared.

        - `ended`: "done", "cancelled", or None for a saga that must not have ended.
        - `done`: the actions that are done and not undone, in order.
        - `undone`: the actions that ran and were undone, in the order of their undos.
        - `refused`: the actions that refused or were given up, in order.
        - `skipped`: the optional steps whose tries have ended, in order.
        - `waiting`: the steps that have begun and are not over.

        A cancelled saga must also have undone all it did. Raises `AssertionError` with the whole
        story, and `ValueError` for an end that no saga has.
        """
        expected = Expectation(
            ended=known_end(ended),
            done=done,
            undone=undone,
            refused=refused,
            skipped=skipped,
            waiting=waiting,
            needs_attention=needs_attention,
        )
        tracked = self.tracked
        problems = list(expected.differences(self._record, tracked))
        if not self._pending:
            problems += contradictions(self._record, tracked)
        if problems:
            raise AssertionError("\n".join([*problems, "", str(self)]))
        return self

    @property
    def tracked(self) -> TrackedSaga:
        """The tracked row of the saga, read now."""
        return tracked_row(self.plan.home, self.saga)

    @property
    def record(self) -> Record:
        """All runs so far, and the states of the steps."""
        return self._record

    def __str__(self) -> str:
        """Tell the story: each run, and how the saga stands."""
        runs = [f"{number:>4}. {run}" for number, run in enumerate(self._record.runs, 1)]
        return "\n".join(
            [
                f"The story of saga {self.plan.saga!r}, {self.saga}:",
                *(runs or ["   nothing has run"]),
                *self._record.summary(),
            ]
        )

    def _is_final(self, step: str | None) -> bool:
        found = self._record.states.get(step or "")
        return found is not None and found.is_final

    def _next(self, runs: dict[str, int], attempts: int | None) -> Delivery | None:
        """Take the next delivery. If no message is under way, let time pass for the open steps."""
        self._take()
        pending = self._pending
        if not pending:
            again = self._mailbox.take_open()
            pending += [
                each
                for each in again
                if runs.get(each.step, 0) < (attempts or handlers.policy_of(each.step).most_tries)
            ]
        if not pending:
            return None
        return pending.pop(self._choose(len(pending)))

    def _take(self) -> list[TakenRow]:
        """Put the new messages with the others that are under way; return their rows."""
        taken = self._mailbox.take_new()
        self.events += [row.type for _, row in taken]
        self._pending += deliveries_of(taken)
        return taken

    def _deliver(self, delivery: Delivery) -> None:
        self._deliver_once(delivery)
        if self._repeats:
            self._deliver_once(delivery)

    def _deliver_once(self, delivery: Delivery) -> None:
        with without_broker():
            if isinstance(delivery, EntryDelivery):
                timeline.record(get_home(delivery.home), [delivery.entry])
                return
            with self._script.applied(delivery.step):
                error = run_step(delivery)

        taken = self._take()
        used = self._script.used
        self._record.note(
            delivery.step,
            self._mailbox.states(),
            taken,
            error=error,
            replaced=used.text if used else "",
        )


def _oldest(_: int) -> int:
    return 0
