"""Liveness and readiness for load balancers: no token needed, no cause of a failure shown.

A process is ready if it can place orders. For that it needs only the database of the users and
orders. Everything else may be away for a while: orders wait for it. If its absence took the process
out of the load balancer, a fault of one service would stop the shop.
"""

from collections.abc import Callable
from functools import partial

from celery import current_app
from django.db import DEFAULT_DB_ALIAS, connections
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from sagas.observability.probes import gather
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
    """Answer 200 if the process can place orders; else 503. `checks` has each server's state.

    The status is `ok`, `degraded` if a server is unavailable that no order needs at once, or
    `unavailable`.
    """
    aliases = {f"{name} database": get_service(name).alias for name in service_names()}
    probes: dict[str, Callable[[], None]] = {
        name: partial(_probe_database, alias) for name, alias in aliases.items()
    }
    probes["broker"] = _probe_broker

    answered = gather(probes, seconds=LIMIT)
    checks = {name: "ok" if name in answered else "unavailable" for name in probes}
    silent = probes.keys() - answered.keys()
    needed = {name for name, alias in aliases.items() if alias == DEFAULT_DB_ALIAS}

    status = "unavailable" if silent & needed else "degraded" if silent else "ok"
    return JsonResponse(
        {"status": status, "checks": checks}, status=503 if status == "unavailable" else 200
    )


def _probe_database(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")


def _probe_broker() -> None:
    with current_app.connection_for_read() as connection:
        connection.connect()
