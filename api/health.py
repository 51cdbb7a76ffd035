"""Is the process alive, and can it reach what it needs? For load balancers: no token is asked for, no cause is told."""

from concurrent.futures import Future, ThreadPoolExecutor, wait

from celery import current_app
from django.db import connections
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from sagas.services import service_called, service_names

__all__ = ["healthz", "readyz"]

# Seconds for all checks together: a hung server must not hang whoever asks.
LIMIT = 2.0

# A check that hangs holds its thread until its own time limit; there are enough for some rounds of them.
_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="readyz")


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer that the process serves requests."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 if all databases and the broker answer in time, else 503 and which do not."""
    checks: dict[Future[None], str] = {
        _threads.submit(_ask_database, service_called(name).alias): f"{name} database" for name in service_names()
    }
    checks[_threads.submit(_ask_broker)] = "broker"
    wait(checks, timeout=LIMIT)
    answers = {name: "ok" if _succeeded(check) else "unavailable" for check, name in checks.items()}
    ready = set(answers.values()) == {"ok"}
    return JsonResponse({"status": "ok" if ready else "unavailable", "checks": answers}, status=200 if ready else 503)


def _succeeded(check: Future[None]) -> bool:
    check.cancel()
    return check.done() and not check.cancelled() and check.exception() is None


def _ask_database(alias: str) -> None:
    connection = connections[alias]  # this thread's own
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        connection.close()


def _ask_broker() -> None:
    with current_app.connection_for_read() as connection:
        connection.connect()
