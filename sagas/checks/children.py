"""Checks of child sagas: their home, their events, their undo, and that none starts itself."""

from collections.abc import Iterator
from typing import Any

import msgspec

from sagas.checks.findings import Finding
from sagas.definition import handlers
from sagas.definition.child_rules import ChildRule
from sagas.definition.events import Event, Notice, Refusal
from sagas.definition.plan import Plan, Saga, service_name

__all__ = ["cycles", "declarations", "placements"]


def declarations() -> Iterator[Finding]:
    """Yield the faults of every step that starts a child, and that this process registers."""
    for name in handlers.names():
        if rule := _rule_of(name):
            yield from _declaration(name, rule)


def placements(plan: Plan) -> Iterator[Finding]:
    """Yield the faults of the children of a plan that depend on their place."""
    for step in plan.actions:
        if rule := _rule_of(step.name):
            yield from _placement(plan, step.name, rule)


def cycles(saga: Saga) -> Iterator[Finding]:
    """Yield a fault if a saga starts itself, also through its children."""
    seen: set[str] = set()
    waiting = [*_children_of(saga)]
    while waiting:
        found = waiting.pop()
        if found.name == saga.name:
            yield Finding(
                "sagas.E102",
                f"Saga {saga.name!r} starts itself as a child, so it never ends.",
                "Remove the Child that leads back to it.",
            )
            return
        if found.name not in seen:
            seen.add(found.name)
            waiting += _children_of(found)


def _declaration(name: str, rule: ChildRule) -> Iterator[Finding]:
    home = rule.saga.plan.home
    if service_name(name) != home:
        yield Finding(
            "sagas.E099",
            f"The step {name!r} starts the saga {rule.saga.name!r}, whose home is {home!r}.",
            f"Name the step {home}.…, and register it in the app {home!r}: the step and its child "
            "share a transaction.",
        )
    failed: Any = rule.failed
    fields = {each.name for each in msgspec.structs.fields(failed)} if _is_event(failed) else set()
    if not {"code", "detail"} <= fields:
        yield Finding(
            "sagas.E100",
            f"The step {name!r} has failed={failed!r}, which has no code and no detail.",
            "Pass a Refusal type, or behind the pivot an Event type with both fields.",
        )
    if not callable(rule.done) and not _is_fact(rule.done):
        yield Finding(
            "sagas.E100",
            f"The step {name!r} has done={rule.done!r}.",
            "Pass an Event that is no Refusal and no Notice, or a function of the child's row.",
        )


def _placement(plan: Plan, name: str, rule: ChildRule) -> Iterator[Finding]:
    is_refusal = _is_event(rule.failed) and issubclass(rule.failed, Refusal)
    refusable = plan.refusable(name)
    is_undone = any(step.name == name and step.undo for step in plan.actions)
    if refusable and not is_refusal:
        yield Finding(
            "sagas.E101",
            f"{name!r} fails with {rule.failed!r}, which is no Refusal.",
            "Up to the pivot, pass failed= with a Refusal type: the saga is compensated.",
        )
    if not refusable and (is_refusal or _is_notice(rule.failed)):
        yield Finding(
            "sagas.E101",
            f"{name!r} fails with {rule.failed!r} after the pivot.",
            "After the pivot, pass failed= with an Event type that is no Refusal and no Notice, "
            "because the saga only goes forward.",
        )
    if is_undone and not rule.has_undo:
        yield Finding(
            "sagas.E103",
            f"the child of {name!r} has no undo.",
            "Before the pivot, pass undo= where the step is registered: a function that undoes a "
            "child that is done.",
        )


def _children_of(saga: Saga) -> Iterator[Saga]:
    for step in saga.plan.actions:
        if rule := _rule_of(step.name):
            yield rule.saga


def _rule_of(name: str) -> ChildRule | None:
    definition = handlers.definition(name)
    return definition.child if definition else None


def _is_event(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, Event)


def _is_notice(found: Any) -> bool:
    return _is_event(found) and issubclass(found, Notice)


def _is_fact(found: Any) -> bool:
    return isinstance(found, Event) and not isinstance(found, Refusal | Notice)
