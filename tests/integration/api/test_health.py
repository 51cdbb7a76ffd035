"""Liveness and readiness, in bounded time."""

import socket
import time
from contextlib import contextmanager

import pytest
from django.db import connections

from api.monitoring import health
from sagas.storage.registry import get_service, service_names

pytestmark = pytest.mark.django_db(databases="__all__")

ALL = {"orders database", "payments database", "inventory database", "broker"}


@pytest.fixture
def patience(monkeypatch):
    """Allow time for a busy machine; a stopped service answers at once."""
    monkeypatch.setattr(health, "LIMIT", 30)


def unavailable(answer):
    """Return the checks that failed."""
    return {name for name, said in answer.json()["checks"].items() if said != "ok"}


@pytest.fixture
def broker_at(monkeypatch):
    """Point the broker somewhere else."""
    return lambda url: monkeypatch.setenv("CELERY_BROKER_READ_URL", url)


def test_a_process_that_serves_is_alive(http):
    answer = http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_process_that_reaches_all_it_needs_is_ready(http, patience):
    answer = http.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert set(answer.json()["checks"]) >= ALL
    assert unavailable(answer) == set()


@contextmanager
def dead_database(alias):
    """Point a database somewhere else."""
    at = connections.settings[alias]
    before = dict(at)
    at.update(HOST="127.0.0.1", PORT=1)
    try:
        yield
    finally:
        at.update(before)


@pytest.mark.parametrize(
    ("alias", "status", "code"),
    [
        ("default", "unavailable", 503),
        ("payments", "degraded", 200),
        ("inventory", "degraded", 200),
    ],
)
def test_a_dead_database_is_named_without_a_cause(http, patience, alias, status, code):
    with dead_database(alias):
        answer = http.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (code, status)
    silent = {name.removesuffix(" database") for name in unavailable(answer)}
    assert silent == {name for name in service_names() if get_service(name).alias == alias}
    assert set(answer.json()["checks"].values()) == {"ok", "unavailable"}
    assert http.get("/readyz").json()["status"] == "ok"


def test_connections_to_a_host_that_vanished_are_given_up():
    for alias in connections:
        with connections[alias].cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("20s",)
        given = connections[alias].connection.info.get_parameters()
        assert int(given["tcp_user_timeout"]) <= 30_000
        assert int(given["keepalives_idle"]) + 3 * int(given["keepalives_interval"]) <= 30


def test_a_dead_broker_is_named_and_takes_no_process_out_of_service(http, broker_at, patience):
    broker_at("redis://127.0.0.1:1/0")
    answer = http.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert unavailable(answer) == {"broker"}


def test_a_hung_broker_holds_nobody_up(http, broker_at):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker_at(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        began = time.monotonic()
        answer = http.get("/readyz")
        assert time.monotonic() - began < 2 * health.LIMIT
    assert "broker" in unavailable(answer)


def test_only_reading_is_allowed(http):
    assert http.post("/readyz").status_code == 405


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize("host", ["10.1.2.3:8000", "[fd00::1]:8000", "bad host", "a_b"])
def test_probes_by_any_address_are_answered_without_https(http, settings, patience, path, host):
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["api.example.com"], True
    settings.DEBUG = False
    answer = http.get(path, headers={"Host": host})
    assert answer.status_code == 200
    assert answer["X-Request-ID"]
    assert int(answer["Content-Length"]) == len(answer.content)
    assert http.get("/errors/", headers={"Host": host}).status_code == 400


def test_metrics_by_any_address_still_need_their_token(http, settings):
    settings.ALLOWED_HOSTS, settings.METRICS_TOKEN = ["api.example.com"], "secret"
    assert http.get("/metrics", headers={"Host": "10.1.2.3"}).status_code == 401
