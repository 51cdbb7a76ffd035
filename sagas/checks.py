"""System checks: a saga that is declared wrongly stops the process at its start, not an order
half-way.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as Caution

from sagas.definition import handlers
from sagas.definition.plan import Plan, Saga, service_name
from sagas.observability import tracing
from sagas.storage.registry import UnknownService, get_home, get_service

__all__ = ["check_plan", "check_sagas", "check_times", "check_tracing"]


def check_sagas(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check every declared saga, and the limits of time they rest on."""
    found = [message for saga in Saga.declared.values() for message in check_plan(saga.plan)]
    return [*found, *check_times()]


def check_plan(plan: Plan) -> list[CheckMessage]:
    """Return what is wrong with a plan."""
    return [
        Error(f"Saga {plan.saga!r}: {text}", hint=hint, id=f"sagas.E{number:03}")
        for number, text, hint in (
            *_shape(plan),
            *_compensation(plan),
            *_registration(plan),
            *_tables(plan),
        )
    ]


def check_times() -> list[CheckMessage]:
    """Check that the broker waits longer for a task than the task may run."""
    visibility = getattr(settings, "CELERY_BROKER_TRANSPORT_OPTIONS", {}).get("visibility_timeout")
    limit = getattr(settings, "CELERY_TASK_TIME_LIMIT", None)
    if visibility is not None and limit is not None and visibility <= limit:
        hint = "Else the broker hands a step to a second worker while the first is still at it."
        return [
            Error(
                "visibility_timeout must be above CELERY_TASK_TIME_LIMIT.",
                hint=hint,
                id="sagas.E020",
            )
        ]
    return []


def check_tracing(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check that what traces are asked for can be made."""
    if tracing.wanted() and not tracing.installed():
        hint = "Install it: pip install --require-hashes -r requirements-otel.txt"
        return [
            Caution(
                "Traces have an address, but OpenTelemetry is not installed.",
                hint=hint,
                id="sagas.W030",
            )
        ]
    return []


Finding = tuple[int, str, str]


def _shape(plan: Plan) -> Iterator[Finding]:
    if not plan.steps:
        yield 1, "it has no steps.", "Give it at least one Step."
    for name, times in Counter(plan.names()).items():
        if times > 1:
            yield (
                2,
                f"{name!r} occurs {times} times.",
                "A step has one row in its inbox: use each name once in a saga.",
            )
    if sum(step.pivot for step in plan.steps) > 1:
        yield 3, "it has two pivots.", "Only one step can be the point of no return."


def _compensation(plan: Plan) -> Iterator[Finding]:
    for step in plan.steps:
        before_pivot = plan.refusable(step.name) and not step.pivot
        if before_pivot and step.undo is None and step.name != plan.last:
            yield (
                4,
                f"{step.name!r} has no undo.",
                "Before the pivot every step must say how it is undone.",
            )
        if not before_pivot and step.undo is not None:
            yield (
                5,
                f"{step.name!r} has an undo that never runs.",
                "From the pivot on a saga only goes forward.",
            )
        for back in filter(None, (step.undo, step.bar)):
            if service_name(back) != service_name(step.name):
                yield (
                    6,
                    f"{back!r} is not in the service of {step.name!r}.",
                    "An undo bars its action in one inbox.",
                )
        is_elsewhere = step.pivot and service_name(step.name) != plan.home
        if is_elsewhere and step.bar is None:
            hint = f"Name the step that bars it when the saga is called off: only its service can, not {plan.home!r}."
            yield 9, f"the pivot {step.name!r} has no bar.", hint
        if step.bar is not None and not is_elsewhere:
            yield (
                12,
                f"{step.name!r} has a bar that never runs.",
                "Only a pivot outside the saga's home is barred so.",
            )


def _registration(plan: Plan) -> Iterator[Finding]:
    for name in plan.names():
        known = handlers.definition(name)
        if known is None:
            yield (
                7,
                f"no step is registered as {name!r}.",
                "Register it in the steps module of its app.",
            )
        elif plan.refusable(name) and known.refusal is None:
            yield (
                8,
                f"{name!r} may be given up, but has no refusal event.",
                "Pass refusal= where it is registered.",
            )


def _tables(plan: Plan) -> Iterator[Finding]:
    for service in sorted(plan.services()):
        try:
            get_service(service)
        except UnknownService as error:
            yield 10, str(error), "Derive Outbox, Inbox, Hold and Watermark in the app's models."
    try:
        get_home(plan.home)
    except UnknownService as error:
        yield 11, str(error), "Derive TrackedSaga and TimelineEvent in the app of the abort step."
