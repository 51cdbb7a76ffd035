"""The embedded servers keep their data, isolate the services, and recover from kills."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from services import OWNERS
from tools.local import ports
from tools.local.errors import LocalError, PortTaken, ServerFailed, StackRunning
from tools.local.ports import free_port, free_ports, port_from_env
from tools.local.postgres import Postgres
from tools.local.rundir import RunDir
from tools.local.sandbox import PaymentSandbox
from tools.local.servers import DATABASE_VARIABLES, Servers, local_servers, private_servers
from tools.local.unprivileged import home_for_data
from tools.local.valkey import Valkey


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Run servers that a test may kill."""
    with private_servers(durable=True) as running:
        yield running


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run a statement; return its rows, if any."""
    with psycopg.connect(url, autocommit=True, connect_timeout=2) as session:
        cursor = session.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_committed_rows_survive_a_kill(servers: Servers) -> None:
    url = servers.postgres.url("orders")
    rows(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    servers.postgres.kill()
    servers.postgres.start()
    assert rows(url, "SELECT answer FROM kept") == [(42,)]


def test_queued_messages_survive_a_restart(servers: Servers) -> None:
    with redis.Redis.from_url(servers.valkey.url) as client:
        client.rpush("orders", "message")
        servers.valkey.restart()
        assert client.lrange("orders", 0, -1) == [b"message"]


def test_a_frozen_server_does_not_answer_until_it_is_thawed(servers: Servers) -> None:
    servers.valkey.freeze()
    assert not servers.valkey.answers()
    servers.valkey.thaw()
    assert servers.valkey.answers()


def test_a_killed_server_starts_even_if_the_pid_in_its_lock_is_in_use(
    servers: Servers,
) -> None:
    servers.postgres.kill()
    lock = servers.run_dir.path / "postgres" / "data" / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    servers.postgres.start()
    assert servers.postgres.answers()


def test_no_service_can_connect_to_another_services_database(servers: Servers) -> None:
    owners = set(OWNERS.values())
    for service in owners:
        for other in owners - {service}:
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(servers.postgres.url(service), dbname=other)


def test_the_servers_listen_on_the_loopback_interface_and_require_a_password(
    servers: Servers,
) -> None:
    assert rows(servers.postgres.superuser_url, "SHOW listen_addresses") == [("127.0.0.1",)]
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(
            host="127.0.0.1",
            port=servers.postgres.port,
            user="orders",
            dbname="orders",
            passfile="none",
        )

    once = Retry(NoBackoff(), 0)
    with (
        redis.Redis(port=servers.valkey.port, retry=once) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_the_error_for_a_busy_port_names_its_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"uses port {port}.*LOCAL_REDIS_PORT"):
            Valkey(RunDir(tmp_path), port).start()


def test_the_error_of_a_server_that_cannot_start_has_its_log(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "run")
    run_dir.create()
    postgres = Postgres(run_dir, free_port())
    home = home_for_data(run_dir.path / "postgres", postgres.user)
    (home / "data").mkdir(mode=0o777)
    with pytest.raises(ServerFailed, match="postgres did not start") as failure:
        postgres.start()

    assert "data" in str(failure.value)
    run_dir.remove()


def test_a_port_that_is_not_a_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "http")
    with pytest.raises(LocalError, match="API_PORT is 'http'"):
        port_from_env("API_PORT", 8000)


def test_servers_of_the_user_are_not_started(tmp_path: Path) -> None:
    user_env = dict.fromkeys(DATABASE_VARIABLES, "postgres://db.example/x") | {
        "REDIS_URL": "redis://cache.example"
    }
    servers = local_servers(RunDir(tmp_path), user_env)
    assert servers.needed == []
    assert servers.env["PAYMENTS_DATABASE_URL"] == "postgres://db.example/x"


def test_the_sandbox_is_started_for_stripe_without_an_account(
    tmp_path: Path,
) -> None:
    def sandbox(**user_env: str) -> bool:
        servers = local_servers(RunDir(tmp_path), user_env)
        started = "sandbox" in [server.name for server in servers.needed]
        assert started == ("STRIPE_API_BASE" in servers.env)
        return started

    assert sandbox(PAYMENT_GATEWAY="stripe")
    assert sandbox(PAYMENT_GATEWAY="stripe", STRIPE_API_KEY="")
    assert not sandbox(PAYMENT_GATEWAY="stripe", STRIPE_API_KEY="sk_test_of_an_account")
    assert not sandbox(PAYMENT_GATEWAY="simulated")
    assert not sandbox()


def test_the_sandbox_accepts_the_projects_key_and_hides_it_from_the_process_list(
    tmp_path: Path,
) -> None:
    run_dir = RunDir(tmp_path / "run")
    run_dir.create()
    sandbox = PaymentSandbox(run_dir, free_port())
    sandbox.start()

    try:
        key = sandbox.env["STRIPE_API_KEY"]
        events = httpx.get(
            f"{sandbox.env['STRIPE_API_BASE']}/v1/events", auth=(key, ""), trust_env=False
        )
        assert (events.status_code, events.headers["X-Sandbox"]) == (200, "true")
        assert key not in " ".join(psutil.Process(sandbox.pid).cmdline())
    finally:
        sandbox.stop()

    assert "SANDBOX: stopped" in sandbox.log.read_text()


def test_a_run_directory_serves_one_stack_at_a_time(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "run")
    with run_dir.locked():
        with pytest.raises(StackRunning, match="is already running"), RunDir(run_dir.path).locked():
            pytest.fail("The directory was locked twice")

        with pytest.raises(StackRunning):
            RunDir(run_dir.path).remove()

    run_dir.remove()
    assert not run_dir.path.exists()


def test_a_secret_is_created_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "run")
    assert run_dir.secret("admin") == RunDir(run_dir.path).secret("admin")
    run_dir.write_env({"SECRET_KEY": "a=b"})
    assert run_dir.read_env() == {"SECRET_KEY": "a=b"}
    assert {path.stat().st_mode & 0o077 for path in run_dir.path.glob("*") if path.is_file()} == {0}


def test_the_ports_of_servers_that_start_together_differ(monkeypatch):
    monkeypatch.setattr(ports, "STABLE_PORTS", range(20_000, 20_300))
    assert len(set(free_ports(100))) == 100
