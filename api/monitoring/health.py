"""Liveness and readiness for load balancers: no token needed, no cause of a failure shown."""

from collections.abc import Callable
from functools import partial

from celery import current_app
from django.db import connections
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from api.monitoring.probes import gather
from sagas.storage.registry import get_service, service_names

__all__ = ["healthz", "readyz"]

# Seconds for all probes together: a hung server must not hang the load balancer's check.
LIMIT = 2.0


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer that the process serves requests."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 if all databases and the broker answer in time; else 503 and which do not."""
    probes: dict[str, Callable[[], None]] = {
        f"{name} database": partial(_probe_database, get_service(name).alias)
        for name in service_names()
    }
    probes["broker"] = _probe_broker

    answered = gather(probes, seconds=LIMIT)
    ready = len(answered) == len(probes)
    checks = {name: "ok" if name in answered else "unavailable" for name in probes}
    return JsonResponse(
        {"status": "ok" if ready else "unavailable", "checks": checks},
        status=200 if ready else 503,
    )


def _probe_database(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")


def _probe_broker() -> None:
    with current_app.connection_for_read() as connection:
        connection.connect()
