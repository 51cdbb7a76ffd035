"""`doctor` names each server that does not answer, and each way to a server without TLS."""

import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.integration.doctor.harness import (
    DATABASES,
    certificate,
    doctor,
    forwarder,
    own_address,
    wrong,
)
from tests.plugin import running
from tests.pooler import pooler, pooler_urls
from tools.local.ports import free_port

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]


@pytest.fixture
def closed():
    """Return the port of a server that is not there."""
    return free_port()


@pytest.fixture
def silent():
    """Return the port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def redis_url(address, port, scheme="redis", query=""):
    password = running().valkey.url.split("@")[0].removeprefix("redis://")
    return f"{scheme}://{password}@{address}:{port}/0{query}"


@wrong("servers")
def test_each_server_that_does_not_answer_is_one_line(closed):
    environ = {
        "PAYMENTS_DATABASE_URL": f"postgres://payments:x@127.0.0.1:{closed}/payments",
        "CELERY_BROKER_URL": redis_url("127.0.0.1", closed),
    }
    found = doctor("--only", "servers", environ=environ)
    assert found.code == 1
    assert len(found.faults) == 2
    assert "payments database: no answer: connection failed" in found.faults[0]
    assert "broker: no answer" in found.faults[1]
    answering = {"cache", *DATABASES.values()} - {DATABASES["payments"]}
    assert {line.split(":")[0] for line in found.proved} == answering


@wrong("servers")
def test_a_server_that_hangs_is_a_line_and_no_hang(silent):
    environ = {
        "INVENTORY_DATABASE_URL": f"postgres://inventory:x@127.0.0.1:{silent}/inventory",
        "REDIS_URL": redis_url("127.0.0.1", silent),
        "CELERY_BROKER_URL": running().valkey.url,
    }
    found = doctor("--only", "servers", "--only", "sequences", environ=environ)
    assert found.code == 1
    assert [line.split(":")[0] for line in found.faults] == ["inventory database", "cache"]
    assert [line.split(":")[0] for line in found.unknown] == ["inventory database"]


@wrong("tls")
def test_databases_on_another_machine_without_tls(roles_with_limits):
    address = own_address()
    with pooler(address=address) as port:
        environ = {**pooler_urls(port, address=address), "DATABASE_POOLER": "transaction"}
        found = doctor("--only", "tls", environ=environ)
    assert found.code == 1
    assert len(found.faults) == len(DATABASES)
    assert all(f"database: no TLS to {address}" in line for line in found.faults)


@pytest.fixture
def with_tls():
    """Run a pooler with TLS; return its URLs for a query, and the path of its certificate."""
    address = own_address()
    with TemporaryDirectory() as name:
        yield from _pooler_with_tls(address, Path(name))


def _pooler_with_tls(address, folder):
    folder.chmod(0o755)  # PgBouncer runs as another user
    public, key = certificate(folder, address)
    settings = {
        "client_tls_sslmode": "require",
        "client_tls_cert_file": str(public),
        "client_tls_key_file": str(key),
    }
    with pooler(address=address, settings=settings, sslmode="require") as port:
        yield lambda query: pooler_urls(port, address=address, query=query), public


@wrong("tls")
def test_a_database_whose_certificate_is_not_verified(with_tls):
    urls, _ = with_tls
    environ = {**urls("?sslmode=require"), "DATABASE_POOLER": "transaction"}
    found = doctor("--only", "tls", environ=environ)
    assert len(found.faults) == len(DATABASES)
    assert "its certificate is not verified (sslmode require)" in found.faults[0]


def test_a_database_whose_certificate_is_verified(with_tls):
    urls, public = with_tls
    query = f"?sslmode=verify-full&sslrootcert={public}"
    found = doctor("--only", "tls", environ={**urls(query), "DATABASE_POOLER": "transaction"})
    assert (found.code, found.faults) == (0, [])
    assert "its certificate is verified (sslmode verify-full)" in found.proved[0]


@wrong("tls")
def test_a_broker_and_a_cache_on_another_machine_without_tls(broker_address):
    address = own_address()
    with forwarder(address, broker_address) as port:
        found = doctor("--only", "tls", environ={"REDIS_URL": redis_url(address, port)})
    assert found.code == 1
    assert [line.split(" | ")[0] for line in found.faults] == [
        f"broker: no TLS to {address}",
        f"cache: no TLS to {address}",
    ]


def test_a_broker_and_a_cache_with_verified_tls(broker_address, tmp_path):
    address = own_address()
    public, key = certificate(tmp_path, address)
    with forwarder(address, broker_address, tls=(public, key)) as port:
        url = redis_url(address, port, "rediss", f"?ssl_ca_certs={public}")
        found = doctor("--only", "tls", environ={"REDIS_URL": url})
    assert found.code == 0, found
    assert f"broker: TLSv1.3 to {address}, its certificate is verified | " in found.proved
    assert f"cache: TLSv1.3 to {address}, its certificate is verified | " in found.proved


@wrong("tls")
def test_a_gateway_without_tls():
    environ = {"PAYMENT_GATEWAY": "stripe", "STRIPE_API_BASE": "http://stripe.example.com"}
    found = doctor("--only", "tls", environ=environ)
    assert found.faults == [
        "payment gateway: no TLS to stripe.example.com | "
        "Set STRIPE_API_BASE to an https URL, or remove it."
    ]


def test_servers_on_this_machine_need_no_tls():
    found = doctor("--only", "tls")
    assert (found.code, found.faults) == (0, [])
    local = f"{DATABASES['default']}: is on this machine, so it needs no TLS | "
    assert local in found.proved
