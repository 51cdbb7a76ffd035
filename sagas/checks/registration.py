"""The engine's checks as Django runs them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from celery import current_app
from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, register
from django.core.checks import Error as CheckError
from django.core.checks import Warning as CheckWarning

from sagas.checks import (
    beat,
    celery_settings,
    children,
    contexts,
    deadlines,
    events,
    plans,
    policies,
    results,
    services,
    timers,
    values,
    waits,
)
from sagas.conf import names, settings, unknown_names
from sagas.definition.plan import Saga
from sagas.observability import instrumentation, tracing

__all__ = [
    "check_celery",
    "check_metrics",
    "check_sagas",
    "check_settings",
    "check_tracing",
    "check_unsigned",
    "register_checks",
]


def register_checks() -> None:
    """Register all checks of the engine."""
    for check in (check_settings, check_sagas, check_celery, check_tracing, check_metrics):
        register(check)
    register(check_unsigned, deploy=True)


def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check the names and values of the engine's settings, and the addresses of Redis."""
    unknown = [
        CheckError(
            f"SAGAS[{name!r}] is no setting of the engine.",
            hint=f"Remove or rename it. The settings are: {', '.join(names())}.",
            id="sagas.E064",
        )
        for name in unknown_names()
    ]
    given = getattr(django_settings, "SAGAS", None) or {}
    if not isinstance(given, Mapping):
        return [
            CheckError(
                f"SAGAS is of the type {type(given).__name__}, but it must be a dict.",
                hint=f"The settings are: {', '.join(names())}.",
                id="sagas.E069",
            )
        ]
    return [*unknown, *_errors(values.findings())]


def check_sagas(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check every declared saga, the events, and the services that take part."""
    declared = Saga.declared.values()
    return [
        *chain.from_iterable(plans.check_saga(saga) for saga in declared),
        *chain.from_iterable(contexts.check_contexts(saga) for saga in declared),
        *_errors(chain.from_iterable(deadlines.findings(saga) for saga in declared)),
        *_errors(policies.findings()),
        *chain.from_iterable(results.check_results(saga) for saga in declared),
        *_errors(events.shared_types()),
        *_errors(waits.declarations()),
        *_errors(timers.declarations()),
        *_errors(children.declarations()),
        *_errors(chain.from_iterable(children.cycles(saga) for saga in declared)),
        *_errors(chain.from_iterable(timers.too_long(saga) for saga in declared)),
        *_errors(services.findings()),
    ]


def check_celery(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check the settings of Celery and of beat that the engine relies on.

    An app that is not configured at all is one fault, not one for each setting.
    """
    if task_class := list(celery_settings.task_class(current_app)):
        return [*_errors(task_class)]
    return [*_errors(celery_settings.findings(current_app)), *_errors(beat.findings(current_app))]


def check_tracing(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check that OpenTelemetry is installed if traces have an address."""
    if not tracing.is_configured() or tracing.is_installed():
        return []

    return [
        CheckWarning(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed, so this "
            "process sends no traces.",
            hint="Install opentelemetry-sdk, opentelemetry-exporter-otlp-proto-http and "
            "opentelemetry-instrumentation-django, or the engine with its extra [otel].",
            id="sagas.W030",
        )
    ]


def check_metrics(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check that prometheus-client is installed if workers shall serve metrics."""
    if not settings.METRICS_PORT or instrumentation.is_prometheus_installed():
        return []

    return [
        CheckWarning(
            "METRICS_PORT is set, but prometheus-client is not installed, so this worker serves no "
            "metrics.",
            hint="Install prometheus-client, or the engine with its extra [prometheus].",
            id="sagas.W032",
        )
    ]


def check_unsigned(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check that workers accept signed messages only."""
    if not settings.ACCEPT_UNSIGNED:
        return []

    return [
        CheckWarning(
            "SAGA_ACCEPT_UNSIGNED is on: any client of the broker can have a worker run a task.",
            hint="Turn it off once no process of the release before is left.",
            id="sagas.W031",
        )
    ]


def _errors(findings: Any) -> Iterator[CheckMessage]:
    return (finding.error() for finding in findings)
