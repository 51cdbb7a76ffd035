"""Run `manage.py doctor` as a process, on a set-up that is right, or wrong in one point."""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from sagas.operations import heartbeats
from services import ALIASES
from services import NAMES as SERVICES
from tests.processes import ROOT, environment, until
from tools.local.ports import free_port
from tools.local.rundir import RunDir
from tools.local.valkey import Valkey

__all__ = [
    "DATABASES",
    "PUBLIC",
    "RIGHT",
    "WRONG",
    "Answer",
    "as_user",
    "certificate",
    "doctor",
    "forwarder",
    "hear_worker",
    "limited_files",
    "own_address",
    "second_broker",
    "shifted_clock",
    "wrong",
]

SECRET = "Sg7-xK2_" * 8

# A service that only its own machine reaches.
RIGHT = {
    "DJANGO_SETTINGS_MODULE": "config.settings",
    "DEBUG": "off",
    "ALLOWED_HOSTS": "localhost,127.0.0.1",
    "SECRET_KEY": SECRET,
    "STOP_GRACE_SECONDS": "75",
    "RUN_DIR": "/nowhere",
}
PUBLIC = {**RIGHT, "ALLOWED_HOSTS": "api.example.com"}


def _labels() -> dict[str, str]:
    served: dict[str, list[str]] = {}
    for name in sorted(SERVICES):
        served.setdefault(ALIASES[name], []).append(name)
    return {alias: f"{' and '.join(names)} database" for alias, names in served.items()}


# How `doctor` names each database, by alias and in the order of its report.
DATABASES = _labels()

# The probes for which a test shows a fault; `wrong` fills it.
WRONG: set[str] = set()


class Answer(NamedTuple):
    """The exit code of `doctor`, and its findings as (probe, state, text, remedy)."""

    code: int
    findings: list[tuple[str, str, str, str]]

    def of(self, state: str) -> list[str]:
        """Return the texts of the findings in a state, each with its remedy."""
        return [f"{text} | {remedy}" for _, found, text, remedy in self.findings if found == state]

    @property
    def faults(self) -> list[str]:
        return self.of("fault")

    @property
    def unknown(self) -> list[str]:
        return self.of("unknown")

    @property
    def proved(self) -> list[str]:
        return self.of("proved")


def wrong(probe: str):
    """Mark a test that shows a fault which a probe finds."""
    WRONG.add(probe)
    return lambda test: test


def doctor(
    *arguments: str, environ: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
) -> Answer:
    """Run `doctor --json`. `prefix` is a command in front of it, which may set a limit."""
    command = [*prefix, sys.executable, "manage.py", "doctor", "--json", *arguments]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**environment(), **RIGHT, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr, done.stderr
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"{done.stdout}\n{done.stderr}") from None
    findings = [
        (one["name"], finding["state"], finding["text"], finding["remedy"])
        for one in report["probes"]
        for finding in one["findings"]
    ]
    assert report["ok"] == (done.returncode == 0)
    return Answer(done.returncode, findings)


def own_address() -> str:
    """Return an IPv4 address of this machine that is not on the loopback interface."""
    found: list[str] = [
        one.address
        for addresses in psutil.net_if_addrs().values()
        for one in addresses
        if one.family == socket.AF_INET and not one.address.startswith("127.")
    ]
    assert found, (
        "This machine has only loopback addresses. Add one: ip addr add 10.99.0.1/32 dev lo"
    )
    return found[0]


def certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """Make a certificate for an address, signed by itself; return the paths of it and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={address}"),
            *("-addext", f"subjectAltName=IP:{address},DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    key.chmod(0o644)  # PgBouncer runs as another user
    return certificate, key


@contextmanager
def forwarder(
    address: str, to: tuple[str, int], *, tls: tuple[Path, Path] | None = None
) -> Iterator[int]:
    """Forward TCP connections from an address of this machine; yield the port. `tls` names the
    certificate and key with which it answers.
    """
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    with socket.create_server((address, 0)) as listener:
        accepting = threading.Thread(target=_accept, args=(listener, to, context), daemon=True)
        accepting.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join(10)


def _accept(listener: socket.socket, to: tuple[str, int], context: ssl.SSLContext | None) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, to, context), daemon=True).start()


def _serve(client: socket.socket, to: tuple[str, int], context: ssl.SSLContext | None) -> None:
    with suppress(OSError), client, socket.create_connection(to) as server:
        wrapped = context.wrap_socket(client, server_side=True) if context else client
        with wrapped:
            back = threading.Thread(target=_copy, args=(server, wrapped), daemon=True)
            back.start()
            _copy(wrapped, server)
            back.join(10)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class _Configured(Valkey):
    """A Valkey with further lines of configuration."""

    lines: tuple[str, ...] = ()

    def _configuration(self) -> Path:
        path = super()._configuration()
        path.write_text(path.read_text() + "".join(f"{line}\n" for line in self.lines))
        return path


@contextmanager
def second_broker(folder: Path, *lines: str) -> Iterator[str]:
    """Run a second Valkey with further lines of configuration; yield its URL."""
    server = _Configured(RunDir(folder), free_port())
    server.lines = lines
    server.start()
    try:
        until(server.answers, "the second broker answers")
        yield server.url
    finally:
        server.stop()


def as_user(url: str, user: str, password: str) -> str:
    """Return a broker's URL for another user."""
    return f"redis://{user}:{password}@{url.rpartition('@')[2]}"


def limited_files(number: int) -> list[str]:
    """Return a command that runs another command with a limit of open files."""
    return ["sh", "-c", f'ulimit -n {number}; exec "$@"', "sh"]


def shifted_clock(seconds: int) -> dict[str, str]:
    """Return variables that shift the clock of a Python process."""
    folder = ROOT / "tests" / "outside" / "shifted_clock"
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "CLOCK_SHIFT": str(seconds)}


def hear_worker(**fields: Any) -> None:
    """Write the heartbeat of a worker on all queues, with other fields than a right one."""
    now = heartbeats._now()
    entry = {
        "queues": list(SERVICES),
        "processes": 2,
        "at": now,
        "steps": [],
        "clock": now,
        "most_files": 20_000,
        **fields,
    }
    left_out = {name: value for name, value in entry.items() if value is not None}
    heartbeats._redis().hset(heartbeats.KEY, "celery@one", json.dumps(left_out))
