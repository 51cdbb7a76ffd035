"""System checks: a wrong declaration of a saga stops the process at its start.

Without them it would stop an order halfway.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from sagas.definition import handlers
from sagas.definition.plan import Plan, Saga, Step, service_name
from sagas.observability import tracing
from sagas.storage.registry import UnknownService, get_home, get_service

__all__ = ["check_plan", "check_sagas", "check_times", "check_tracing"]


class Finding(NamedTuple):
    """A fault of a plan: the number of its check, a text, and a hint for the developer."""

    number: int
    text: str
    hint: str


def check_sagas(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check every declared saga, and the time limits that sagas rely on."""
    faults = [message for saga in Saga.declared.values() for message in check_plan(saga.plan)]
    return [*faults, *check_times()]


def check_plan(plan: Plan) -> list[CheckMessage]:
    """Return the faults of a plan."""
    findings = chain(_shape(plan), _compensation(plan), _registration(plan), _tables(plan))

    return [
        Error(
            f"Saga {plan.saga!r}: {finding.text}",
            hint=finding.hint,
            id=f"sagas.E{finding.number:03}",
        )
        for finding in findings
    ]


def check_times() -> list[CheckMessage]:
    """Check that the broker waits longer for a task than the task may run."""
    options = getattr(settings, "CELERY_BROKER_TRANSPORT_OPTIONS", {})
    visibility = options.get("visibility_timeout")
    limit = getattr(settings, "CELERY_TASK_TIME_LIMIT", None)

    if visibility is None or limit is None or visibility > limit:
        return []

    return [
        Error(
            f"The broker's visibility_timeout is {visibility} s, but it must be above "
            f"CELERY_TASK_TIME_LIMIT, which is {limit} s.",
            hint="Otherwise the broker gives a step to a second worker while the first runs it.",
            id="sagas.E020",
        )
    ]


def check_tracing(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check that OpenTelemetry is installed if traces have an address."""
    if not tracing.is_configured() or tracing.is_installed():
        return []

    return [
        CheckWarning(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed, so this "
            "process sends no traces.",
            hint="Install it: pip install --require-hashes -r requirements-otel.txt",
            id="sagas.W030",
        )
    ]


def _shape(plan: Plan) -> Iterator[Finding]:
    if not plan.steps:
        yield Finding(1, "it has no steps.", "Give it at least one Step.")

    for name, times in Counter(plan.names()).items():
        if times > 1:
            yield Finding(
                2,
                f"{name!r} occurs {times} times.",
                "Use each name once in a saga, because a step has one inbox row for each saga.",
            )

    if sum(step.pivot for step in plan.steps) > 1:
        yield Finding(3, "it has two pivots.", "Mark only one Step with pivot=True.")


def _compensation(plan: Plan) -> Iterator[Finding]:
    for step in plan.steps:
        yield from _undo_findings(plan, step)
        yield from _service_findings(step)
        yield from _bar_findings(plan, step)


def _undo_findings(plan: Plan, step: Step) -> Iterator[Finding]:
    before_pivot = plan.refusable(step.name) and not step.pivot

    if before_pivot and step.undo is None and step.name != plan.last:
        yield Finding(
            4,
            f"{step.name!r} has no undo.",
            "Give every step before the pivot an undo.",
        )
    if not before_pivot and step.undo is not None:
        yield Finding(
            5,
            f"{step.name!r} has an undo that never runs.",
            "Remove it, because a saga only goes forward from the pivot on.",
        )


def _service_findings(step: Step) -> Iterator[Finding]:
    for name in filter(None, (step.undo, step.bar)):
        if service_name(name) != service_name(step.name):
            yield Finding(
                6,
                f"{name!r} is not in the service of {step.name!r}.",
                "Move it there, because it bars its action in the inbox of that service.",
            )


def _bar_findings(plan: Plan, step: Step) -> Iterator[Finding]:
    is_remote_pivot = step.pivot and service_name(step.name) != plan.home
    if is_remote_pivot and step.bar is None:
        yield Finding(
            9,
            f"the pivot {step.name!r} has no bar.",
            f"Name the step that bars it on a cancel: {plan.home!r} cannot bar it itself.",
        )
    if step.bar is not None and not is_remote_pivot:
        yield Finding(
            12,
            f"{step.name!r} has a bar that never runs.",
            "Remove it: only a pivot outside the saga's home needs a bar.",
        )


def _registration(plan: Plan) -> Iterator[Finding]:
    for name in plan.names():
        definition = handlers.definition(name)
        if definition is None:
            yield Finding(
                7,
                f"no step is registered as {name!r}.",
                "Register it in the steps module of its app.",
            )
        elif plan.refusable(name) and definition.refusal is None:
            yield Finding(
                8,
                f"{name!r} may be given up, but has no refusal event.",
                "Pass refusal= where it is registered.",
            )


def _tables(plan: Plan) -> Iterator[Finding]:
    for service in sorted(plan.services()):
        try:
            get_service(service)
        except UnknownService as error:
            hint = "Derive Outbox, Inbox, Hold and Watermark in the app's models."
            yield Finding(10, str(error), hint)

    try:
        get_home(plan.home)
    except UnknownService as error:
        hint = "Derive TrackedSaga and TimelineEvent in the app of the abort step."
        yield Finding(11, str(error), hint)
