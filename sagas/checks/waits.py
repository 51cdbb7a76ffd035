"""Checks of waits: their answers, their expiry, and their place in a plan."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sagas.checks.findings import Finding
from sagas.definition import handlers
from sagas.definition.events import Event, Notice, Refusal
from sagas.definition.plan import Plan
from sagas.definition.waits import WaitRule

__all__ = ["declarations", "placements"]


def declarations() -> Iterator[Finding]:
    """Yield the faults of every wait that this process registers."""
    for name in handlers.names():
        definition = handlers.definition(name)
        if definition is not None and definition.wait is not None:
            yield from _declaration(name, definition.wait)


def placements(plan: Plan) -> Iterator[Finding]:
    """Yield the faults of the waits of a plan that depend on their place."""
    for step in plan.actions:
        definition = handlers.definition(step.name)
        if definition is not None and definition.wait is not None:
            yield from _placement(plan, step.name, definition.wait)


def _declaration(name: str, rule: WaitRule) -> Iterator[Finding]:
    answer, refusal, expires = _as_given(rule)
    if not _is_answer(answer):
        yield Finding(
            "sagas.E090",
            f"The wait {name!r} has no type of answer, but {answer!r}.",
            "Pass answer= with an Event type that is no Refusal and no Notice. Its fields are the "
            "data of the signal.",
        )
    if refusal is not None and not _is(refusal, Refusal):
        yield Finding(
            "sagas.E091",
            f"The wait {name!r} has the refusal {refusal!r}, which is no Refusal type.",
            "Pass refusal= with a Refusal type, or leave it out.",
        )
    if not isinstance(expires, timedelta) or expires <= timedelta(0):
        yield Finding(
            "sagas.E092",
            f"The wait {name!r} expires after {expires!r}.",
            "Pass expires= with a timedelta above zero.",
        )


def _placement(plan: Plan, name: str, rule: WaitRule) -> Iterator[Finding]:
    refusable = plan.refusable(name)
    expired: Any = rule.expired
    is_fact = isinstance(expired, Event) and not isinstance(expired, Refusal | Notice)

    if refusable and not isinstance(rule.expired, Refusal):
        yield Finding(
            "sagas.E093",
            f"the wait {name!r} expires with {rule.expired!r}, which is no Refusal.",
            "Up to the pivot, pass expired= with a Refusal: the saga is compensated.",
        )
    if not refusable and not is_fact:
        yield Finding(
            "sagas.E093",
            f"the wait {name!r} expires with {rule.expired!r} after the pivot.",
            "After the pivot, pass expired= with an Event that is no Refusal and no Notice, because"
            " the saga only goes forward.",
        )
    if not refusable and rule.refusal is not None:
        yield Finding(
            "sagas.E094",
            f"the wait {name!r} takes a refusal, but it is after the pivot.",
            "Remove refusal=, or move the wait before the pivot.",
        )


def _as_given(rule: WaitRule) -> tuple[Any, Any, Any]:
    """Return the arguments of a registration, which may have any type."""
    return rule.answer, rule.refusal, rule.expires


def _is_answer(found: Any) -> bool:
    return _is(found, Event) and not _is(found, Refusal) and not _is(found, Notice)


def _is(found: Any, base: type[Event]) -> bool:
    return isinstance(found, type) and issubclass(found, base) and hasattr(found, "type")
