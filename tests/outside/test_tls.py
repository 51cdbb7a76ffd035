"""`rediss://` is TLS, and every process verifies the certificate of the broker."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import which

import httpx
import pytest

from tests.outside.harness import SHORT_TIMES, valkey
from tests.plugin import running
from tests.processes import Process, api, beat, until, worker
from tests.system.harness import SERVICES, order, outcome
from tools.local.ports import free_port

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

STUNNEL = """
foreground = yes
pid =
debug = notice
[redis]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{target}
cert = {folder}/localhost.pem
key = {folder}/localhost.key
"""

REFUSED = "certificate verify failed"


def authority(folder: Path, name: str) -> Path:
    """Make a certificate authority; return its certificate."""
    certificate = folder / f"{name}.pem"
    _openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
        "-keyout", f"{folder}/{name}.key", "-out", str(certificate),
    )  # fmt: skip
    return certificate


def certificate_for_localhost(folder: Path, issuer: str) -> None:
    """Make a certificate for the name localhost, which is not valid for 127.0.0.1."""
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName = DNS:localhost\n")
    request = folder / "request.csr"
    _openssl(
        "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
        "-keyout", f"{folder}/localhost.key", "-out", str(request),
    )  # fmt: skip
    _openssl(
        "x509", "-req", "-in", str(request), "-days", "2", "-CA", f"{folder}/{issuer}.pem",
        "-CAkey", f"{folder}/{issuer}.key", "-CAcreateserial", "-extfile", str(extensions),
        "-out", f"{folder}/localhost.pem",
    )  # fmt: skip


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@contextmanager
def tls_in_front_of_the_broker(folder: Path) -> Iterator[int]:
    """Run stunnel in front of the broker; yield its port."""
    program = which("stunnel4") or which("stunnel")
    assert program, "stunnel is missing. Install it: apt-get install stunnel4"
    port = free_port()
    configuration = folder / "stunnel.conf"
    target = running().valkey.port
    configuration.write_text(STUNNEL.format(port=port, target=target, folder=folder))

    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(configuration)], stdout=log, stderr=log)
    try:
        until(lambda: _accepts(port), "stunnel accepts connections")
        yield port
    finally:
        process.kill()
        process.wait(10)


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture
def tls(tmp_path):
    """Return a function that returns the environment of processes that speak TLS to the broker."""
    authority(tmp_path, "ours")
    authority(tmp_path, "another")
    certificate_for_localhost(tmp_path, "ours")
    with tls_in_front_of_the_broker(tmp_path) as port:
        password = running().valkey.url.partition("@")[0].rpartition(":")[2]

        def environment(*, host="localhost", ca="ours"):
            url = f"rediss://:{password}@{host}:{port}/0"
            return {**SHORT_TIMES, "REDIS_URL": url, "BROKER_CA_FILE": str(tmp_path / f"{ca}.pem")}

        yield environment


def test_workers_beat_and_api_speak_tls_to_the_broker(api_client, shop, tls):
    environ = tls()
    with (
        worker(*SERVICES, environ=environ) as process,
        beat(environ=environ),
        api(environ=environ) as (address, _),
    ):
        placed = order(api_client, "over-TLS")
        until(lambda: outcome(placed)[0] == "fulfilled", "the order ends", process=process)
        ready = httpx.get(f"{address}/readyz", timeout=5, trust_env=False)
        assert ready.json()["status"] == "ok"
        with valkey() as client:  # the heartbeat comes over TLS too
            name = process.arguments[-1].encode()
            until(lambda: name in client.hkeys("saga:workers"), "the worker's heartbeat is there")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [({"ca": "another"}, REFUSED), ({"host": "127.0.0.1"}, "IP address mismatch")],
)
def test_a_worker_refuses_a_broker_whose_certificate_is_not_valid(tmp_path, tls, wrong, reason):
    command = ("celery", "-A", "config", "worker", "-Q", "orders", "-c", "1", "-l", "INFO")
    process = Process(*command, log=tmp_path / "worker.log", environ=tls(**wrong))
    try:
        until(lambda: reason in process.output(), "the worker says why", process=process)
        assert REFUSED in process.output()
        assert " ready." not in process.output()
    finally:
        process.kill()


def test_a_worker_does_not_start_with_a_broker_that_does_not_work(tmp_path):
    environ = {"CELERY_BROKER_URL": "amqp://guest@127.0.0.1//"}
    command = ("celery", "-A", "config", "worker", "-Q", "orders")
    process = Process(*command, log=tmp_path / "worker.log", environ=environ)
    try:
        assert process.popen.wait(60) != 0
    finally:
        process.kill()
    assert "CELERY_BROKER_URL has the scheme 'amqp'" in process.output()
