"""Checks of parallel groups: their branches, and the steps around them."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from sagas.checks.findings import Finding
from sagas.definition.plan import Parallel, Plan, Saga, service_name

__all__ = ["declarations", "placements"]


def declarations(saga: Saga) -> Iterator[Finding]:
    """Yield the faults of the groups as they are declared."""
    for number, group in enumerate(saga.groups, start=1):
        if len(group.branches) < 2:
            yield Finding(
                "sagas.E109",
                f"its parallel group {number} has {len(group.branches)} branches.",
                "Name at least two branches, or declare the step without Parallel.",
            )
        if any(isinstance(branch, Parallel) for branch in group.branches):
            yield Finding(
                "sagas.E107",
                f"its parallel group {number} has a group inside it.",
                "List all branches in one Parallel. A branch is a single step.",
            )


def placements(plan: Plan) -> Iterator[Finding]:
    """Yield the faults of the groups of a plan."""
    for stage in plan.stages:
        if len(stage) > 1:
            yield from _branches(plan, [step.name for step in stage])
    for before, after in pairwise(plan.stages):
        if len(before) > 1 and len(after) > 1:
            yield Finding(
                "sagas.E108",
                f"a parallel group follows that of {before[0].name!r} directly.",
                "Put a step between the groups. It runs once all branches before it are done.",
            )
    if plan.stages and len(plan.stages[-1]) > 1:
        yield Finding(
            "sagas.E108",
            f"no step follows the parallel group of {plan.stages[-1][0].name!r}.",
            "Put a step behind the group. It runs once all branches are done, and ends the saga.",
        )


def _branches(plan: Plan, names: list[str]) -> Iterator[Finding]:
    if plan.pivot and plan.pivot.name in names:
        yield Finding(
            "sagas.E105",
            f"the pivot {plan.pivot.name!r} is a branch of a parallel group.",
            "Move it before or behind the group. From the pivot on, a saga cannot be undone, but "
            "another branch may still refuse.",
        )
    for service, count in Counter(map(service_name, names)).items():
        if count > 1:
            yield Finding(
                "sagas.E106",
                f"a parallel group has {count} branches in the service {service!r}.",
                "Let the branches of a group be in different services, or declare these steps one "
                "after another. The steps of one service would wait for each other's rows.",
            )
