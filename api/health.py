"""Is the process alive, and can it reach what it needs? For load balancers: no token is asked
for, no cause is told.
"""

from collections.abc import Callable
from functools import partial

from celery import current_app
from django.db import connections
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from api.asking import ask
from sagas.storage.registry import get_service, service_names

__all__ = ["healthz", "readyz"]

# Seconds for all checks together: a hung server must not hang whoever asks.
LIMIT = 2.0


@never_cache
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer that the process serves requests."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 if all databases and the broker answer in time, else 503 and which do not."""
    checks: dict[str, Callable[[], None]] = {
        f"{name} database": partial(_ask_database, get_service(name).alias)
        for name in service_names()
    }
    checks["broker"] = _ask_broker
    answered = ask(checks, seconds=LIMIT)
    answers = {name: "ok" if name in answered else "unavailable" for name in checks}
    ready = len(answered) == len(checks)
    return JsonResponse(
        {"status": "ok" if ready else "unavailable", "checks": answers},
        status=200 if ready else 503,
    )


def _ask_database(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")


def _ask_broker() -> None:
    with current_app.connection_for_read() as connection:
        connection.connect()
