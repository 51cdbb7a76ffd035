"""The record of a story: the effect of each delivery, and the state of the saga that follows."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from sagas.definition.plan import Plan
from sagas.storage.arrivals import is_arrival
from sagas.testing.mailbox import InboxState, TakenRow

__all__ = ["End", "Record", "Run", "Verdict"]


class End(StrEnum):
    """How a saga ended: its last step is done, or the step that ends an undone saga."""

    DONE = "done"
    CANCELLED = "cancelled"


class Verdict(StrEnum):
    """The effect of one delivery to a step."""

    DONE = "done"
    REFUSED = "refused"
    GIVEN_UP = "given up"
    SKIPPED = "skipped"
    FAILED = "failed"
    OPEN = "is open"
    HELD = "is on hold"
    ARRIVED = "has arrived"
    IGNORED = "ignored"


class Run(NamedTuple):
    """One delivery to a step. `replaced` says which outcome the story gave it."""

    step: str
    verdict: Verdict
    events: Sequence[str] = ()
    detail: str = ""
    replaced: str = ""
    barred: str | None = None

    def __str__(self) -> str:
        parts = [f"{self.step:<24} {self.verdict}"]
        if self.events:
            parts.append(f": {', '.join(self.events)}")
        if self.detail:
            parts.append(f" ({self.detail})")
        if self.replaced:
            parts.append(f"  [the story: {self.replaced}]")
        if self.barred:
            parts.append(f"  [bars {self.barred}, which has not run]")
        return "".join(parts)


class Record:
    """All runs of one saga, in order, and the states of its steps."""

    def __init__(self, plan: Plan, states: Mapping[str, InboxState]) -> None:
        self.plan = plan
        self.runs: list[Run] = []
        self.states = dict(states)
        self._new_arrivals: set[str] = set()
        # The steps in the order in which they became final.
        self._final = [step for step, found in states.items() if found.is_final]

    def note(
        self,
        step: str,
        states: Mapping[str, InboxState],
        rows: Sequence[TakenRow],
        *,
        error: str,
        replaced: str,
    ) -> Run:
        """Record the run of a step. `states` and `rows` are of the time after it."""
        before = self.states
        self.states = dict(states)
        self._new_arrivals = {name for name in states.keys() - before.keys() if is_arrival(name)}
        self._final += [
            name for name, found in states.items() if found.is_final and name not in self._final
        ]
        run = Run(
            step=step,
            verdict=self._verdict(step, before.get(step), rows, error=error),
            events=[row.type for _, row in rows if row.step == step],
            detail=error or self._detail(step),
            replaced=replaced,
            barred=self._barred(step, before),
        )
        self.runs.append(run)
        return run

    @property
    def end(self) -> End | None:
        """How the saga ended, or None while it has not."""
        if self._is(self.plan.abort, "done"):
            return End.CANCELLED
        last = self.plan.last
        return End.DONE if self._is(last, "done") or self._is_skipped(last) else None

    @property
    def done(self) -> list[str]:
        """The actions that are done and not undone, in order."""
        undone = self.undone
        actions = {step.name for step in self.plan.actions}
        return [
            step
            for step in self._final
            if step in actions and step not in undone and self._is(step, "done")
        ]

    @property
    def undone(self) -> list[str]:
        """The actions that ran and whose undo is done, in the order of their undos.

        An action that refused did nothing, so it is not among them.
        """
        done = [step for step in self._final if self._is(step, "done")]
        undos = {step.undo: step.name for step in self.plan.actions if step.undo}
        actions = [undos[step] for step in done if step in undos]
        return [action for action in actions if self._may_have_acted(action)]

    @property
    def refused(self) -> list[str]:
        """The actions that refused or were given up, in order."""
        refusing = {Verdict.REFUSED, Verdict.GIVEN_UP}
        return [run.step for run in self.runs if run.verdict in refusing]

    @property
    def skipped(self) -> list[str]:
        """The optional steps whose tries have ended, in order."""
        return [step for step in self._final if self._is_skipped(step)]

    @property
    def waiting(self) -> list[str]:
        """The steps that have begun and are not over: they wait, fail, or are on hold."""
        return [step for step, found in self.states.items() if not found.is_final]

    def left_over(self) -> list[str]:
        """Return the actions that a saga with this end must not leave as they are."""
        match self.end:
            case End.CANCELLED:
                undoable = {step.name for step in self.plan.actions if step.undo}
                return [name for name in self.done if name in undoable]
            case End.DONE:
                names = [step.name for step in self.plan.actions]
                return [
                    name
                    for name in names
                    if not self._is(name, "done") and not self._is_skipped(name)
                ]
        return []

    def summary(self) -> list[str]:
        """Return lines that say how the saga stands."""
        facts = {
            "Done": self.done,
            "Undone": self.undone,
            "Refused": self.refused,
            "Skipped": self.skipped,
            "Waiting": self.waiting,
        }
        return [
            f"Ended: {self.end or 'no'}.",
            *(f"{name}: {', '.join(steps)}." for name, steps in facts.items() if steps),
        ]

    def _verdict(
        self, step: str, before: InboxState | None, rows: Sequence[TakenRow], *, error: str
    ) -> Verdict:
        now = self.states.get(step)
        if now is None or now == before:  # done before, barred, or not due
            return Verdict.ARRIVED if self._new_arrivals else Verdict.IGNORED
        match now.state:
            case "done":
                return Verdict.DONE
            case "refused":
                return self._refusal_verdict(step, rows, error=error)
            case "held":
                return Verdict.HELD
        return Verdict.FAILED if error else Verdict.OPEN

    def _refusal_verdict(self, step: str, rows: Sequence[TakenRow], *, error: str) -> Verdict:
        if self.plan.skippable(step):
            return Verdict.SKIPPED
        return Verdict.GIVEN_UP if error or _gives_up(step, rows) else Verdict.REFUSED

    def _detail(self, step: str) -> str:
        found = self.states.get(step)
        return found.error if found and found.state != "done" else ""

    def _barred(self, step: str, before: Mapping[str, InboxState]) -> str | None:
        action = self.plan.action_of(step)
        was_barred = action and action not in before and self._is(action, "refused")
        return action if was_barred else None

    def _may_have_acted(self, action: str) -> bool:
        if self._is(action, "done"):
            return True
        verdicts = [run.verdict for run in self.runs if run.step == action]
        acted = [each for each in verdicts if each is not Verdict.IGNORED]
        return bool(acted) and acted[-1] is not Verdict.REFUSED

    def _is_skipped(self, step: str) -> bool:
        return self.plan.skippable(step) and self._is(step, "refused")

    def _is(self, step: str, state: str) -> bool:
        found = self.states.get(step)
        return found is not None and found.state == state


def _gives_up(step: str, rows: Sequence[TakenRow]) -> bool:
    """Tell whether the engine refused in the step's name."""
    return any(row.step == step and row.data.get("code") == "internal_error" for _, row in rows)
