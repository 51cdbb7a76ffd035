"""Checks of a declared saga: its shape, its compensations, and its steps."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain

from django.core.checks import CheckMessage

from sagas.checks import children, groups, waits
from sagas.checks.findings import Finding
from sagas.definition import handlers
from sagas.definition.conditions import MOST_CONDITIONS, distinct
from sagas.definition.plan import Plan, Saga, Step, service_name
from sagas.definition.waits import closing_step
from sagas.storage.registry import UnknownService, get_home, get_service

__all__ = ["check_plan", "check_saga"]


def check_saga(saga: Saga) -> list[CheckMessage]:
    """Return the faults of a saga's conditions, and of each plan that follows from them."""
    prefix = f"Saga {saga.name!r}: "
    declared = chain(_conditions(saga), groups.declarations(saga))
    messages = [finding.error(prefix) for finding in declared]

    known: set[Finding] = set()
    for absent in saga.absences():
        without = f"without {', '.join(map(repr, sorted(absent)))}, " if absent else ""
        new = [each for each in _findings(saga.plan_without(absent)) if each not in known]
        messages += [finding.error(f"{prefix}{without}") for finding in new]
        known.update(new)
    return messages


def check_plan(plan: Plan) -> list[CheckMessage]:
    """Return the faults of a plan."""
    return [finding.error(f"Saga {plan.saga!r}: ") for finding in _findings(plan)]


def _findings(plan: Plan) -> Iterator[Finding]:
    return chain(
        _shape(plan),
        _compensation(plan),
        _registration(plan),
        _tables(plan),
        waits.placements(plan),
        children.placements(plan),
        groups.placements(plan),
    )


def _conditions(saga: Saga) -> Iterator[Finding]:
    given: Mapping[str, object] = saga.conditions
    for step, condition in given.items():
        if not callable(condition):
            yield Finding(
                "sagas.E088",
                f"the condition of {step!r} is {condition!r}, which is no function.",
                "Pass a function of the starting event as when=.",
            )

    yield from _pivots(saga)

    count = len(distinct(saga.conditions))
    if count > MOST_CONDITIONS:
        yield Finding(
            "sagas.E081",
            f"it has {count} conditions, but only up to {MOST_CONDITIONS} are checked.",
            "Give the steps that belong together the same function as when=, or declare a second "
            "saga.",
        )


def _pivots(saga: Saga) -> Iterator[Finding]:
    """Yield the faults of the declared pivots: each but the last has a condition."""
    conditional = [name in saga.conditions for name in saga.pivots]
    if conditional and conditional[-1]:
        yield Finding(
            "sagas.E080",
            f"the pivot {saga.pivots[-1]!r} has a condition.",
            "Remove when= from it, because a saga without its pivot cannot be cancelled. Or mark a "
            "later Step without a condition with pivot=True: the pivot of sagas without this one.",
        )
    if not all(conditional[:-1]):
        yield Finding(
            "sagas.E003",
            "it has two pivots.",
            "Mark only one Step with pivot=True, or give the earlier one a condition.",
        )


def _shape(plan: Plan) -> Iterator[Finding]:
    if not plan.actions:
        yield Finding("sagas.E001", "it has no steps.", "Give it at least one Step.")

    for name, times in Counter(plan.names()).items():
        if times > 1:
            yield Finding(
                "sagas.E002",
                f"{name!r} occurs {times} times.",
                "Use each name once in a saga, because a step has one inbox row for each saga.",
            )

    if sum(step.pivot for step in plan.actions) > 1:
        yield Finding("sagas.E003", "it has two pivots.", "Mark only one Step with pivot=True.")


def _compensation(plan: Plan) -> Iterator[Finding]:
    for step in plan.actions:
        yield from _undo_findings(plan, step)
        yield from _optional_findings(plan, step)
        yield from _service_findings(step)
        yield from _bar_findings(plan, step)


def _undo_findings(plan: Plan, step: Step) -> Iterator[Finding]:
    before_pivot = plan.refusable(step.name) and not step.pivot

    if before_pivot and step.undo is None and step.name != plan.last:
        yield Finding(
            "sagas.E004",
            f"{step.name!r} has no undo.",
            "Give every step before the pivot an undo.",
        )
    if not before_pivot and step.undo is not None:
        yield Finding(
            "sagas.E005",
            f"{step.name!r} has an undo that never runs.",
            "Remove it, because a saga only goes forward from the pivot on.",
        )


def _optional_findings(plan: Plan, step: Step) -> Iterator[Finding]:
    if step.optional and not plan.skippable(step.name):
        yield Finding(
            "sagas.E035",
            f"{step.name!r} is optional, but does not come after a pivot.",
            "Move it behind the pivot. Until then, a step that fails undoes its saga.",
        )


def _service_findings(step: Step) -> Iterator[Finding]:
    for name in filter(None, (step.undo, step.bar)):
        if service_name(name) != service_name(step.name):
            yield Finding(
                "sagas.E006",
                f"{name!r} is not in the service of {step.name!r}.",
                "Move it there, because it bars its action in the inbox of that service.",
            )


def _bar_findings(plan: Plan, step: Step) -> Iterator[Finding]:
    is_remote_pivot = step.pivot and service_name(step.name) != plan.home
    if is_remote_pivot and step.bar is None:
        yield Finding(
            "sagas.E009",
            f"the pivot {step.name!r} has no bar.",
            f"Name the step that bars it on a cancel: {plan.home!r} cannot bar it itself.",
        )
    if step.bar is not None and not is_remote_pivot:
        yield Finding(
            "sagas.E012",
            f"{step.name!r} has a bar that never runs.",
            "Remove it: only a pivot outside the saga's home needs a bar.",
        )


def _registration(plan: Plan) -> Iterator[Finding]:
    closed = set(plan.waits())
    # The step that closes a wait is registered with it. So one hint is enough for both.
    closing = {closing_step(wait) for wait in closed if handlers.definition(wait) is None}
    for name in plan.names():
        definition = handlers.definition(name)
        if definition is None and name not in closing:
            register = (
                "Register it with sagas.wait or sagas.timer" if name in closed else "Register it"
            )
            yield Finding(
                "sagas.E007",
                f"no step is registered as {name!r}.",
                f"{register} in the steps module of its app.",
            )
        elif definition is None:
            continue
        elif plan.refusable(name) and definition.refusal is None and definition.wait is None:
            yield Finding(
                "sagas.E008",
                f"{name!r} may be given up, but has no refusal event.",
                "Pass refusal= where it is registered.",
            )


def _tables(plan: Plan) -> Iterator[Finding]:
    for service in sorted(plan.services()):
        try:
            get_service(service)
        except UnknownService as error:
            hint = (
                "Add a class derived from sagas.models.ServiceTables to the models of the app, and "
                "the app to INSTALLED_APPS."
            )
            yield Finding("sagas.E010", str(error), hint)

    try:
        get_home(plan.home)
    except UnknownService as error:
        hint = (
            "In the app of the abort step, derive a model from TrackedSaga, and a class from "
            "ServiceTables with home=True."
        )
        yield Finding("sagas.E011", str(error), hint)
