"""Waiting clients do not block other clients of a real gunicorn with its own configuration."""

import re
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import httpx
import psutil
import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.functions import Now

from api.auth.tokens import issue_token
from orders.models import Order, Product
from orders.status import Status
from tests.integration.orders import harness
from tests.integration.orders.waiting_requests import until_polled
from tests.plugin import running
from tests.processes import LIMIT, Process, until
from tools.local.ports import free_port

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True, databases="__all__"),
]

NAME = "waiting-room-test"
SESSIONS = (
    "SELECT datname, count(*) FROM pg_stat_activity WHERE application_name = %s GROUP BY datname"
)
END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
END = b"0\r\n\r\n"


class Api:
    """The API as a process, and the requests of its customer."""

    def __init__(self, process: Process, address: str, token: str, stack: ExitStack) -> None:
        self.process = process
        self.stack = stack
        self.address = address
        self.headers = {"Authorization": f"Bearer {token}"}

    def request(self, method: str, path: str, *, json=None, **headers: str) -> httpx.Response:
        """Send a request and return its response, or the part of it that has arrived."""
        headers = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        with httpx.stream(
            method,
            f"http://{self.address}{path}",
            json=json,
            headers=headers,
            timeout=LIMIT,
            trust_env=False,
        ) as answer:
            if "event-stream" not in answer.headers.get("Content-Type", ""):
                answer.read()
            return answer

    def place(self) -> httpx.Response:
        """Place an order."""
        return self.request(
            "POST", harness.ORDERS, json=harness.body_for(), Idempotency_Key=str(uuid4())
        )

    def open(self, path: str, **headers: str) -> socket.socket:
        """Send a request and return its connection."""
        host, port = self.address.split(":")
        opened = self.stack.enter_context(
            socket.create_connection((host, int(port)), timeout=LIMIT)
        )
        sent = (
            self.headers
            | {"Host": self.address}
            | {k.replace("_", "-"): v for k, v in headers.items()}
        )
        lines = [
            f"GET {path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in sent.items()),
            "",
            "",
        ]
        opened.sendall("\r\n".join(lines).encode())
        return opened

    def follow(self, order: Order) -> socket.socket:
        """Start to stream an order's timeline; return the connection."""
        stream = self.open(harness.path(order, "timeline/"), Accept="text/event-stream")
        begun = read_until(stream, b"retry: 2000\n\n")
        assert begun.startswith(b"HTTP/1.1 200"), begun
        return stream

    def prefer_to_wait(self, order: Order) -> socket.socket:
        """Request an order with a preference to wait; return the connection."""
        return self.open(harness.path(order), Prefer="wait=30")

    def wait(self, order: Order) -> socket.socket:
        """Call `prefer_to_wait`; return the connection when the request waits."""
        client = self.prefer_to_wait(order)
        until_polled(self.process)
        return client

    def stream_status(self, order: Order) -> httpx.Response:
        """Start to stream an order's timeline, disconnect, and return the status."""
        return self.request("GET", harness.path(order, "timeline/"), Accept="text/event-stream")


@contextmanager
def api(*options: str, **environ: str) -> Iterator[Api]:
    """Run the API with one worker process."""
    address = f"127.0.0.1:{free_port()}"
    token = issue_token(User.objects.get_or_create(username="ada")[0])
    command = ("gunicorn", "config.wsgi", "--bind", address, "--workers", "1", *options)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        process = Process(
            *command, log=Path(folder) / "log", environ={"PGAPPNAME": NAME, **environ}
        )
        try:
            until(
                lambda: "Booting worker" in process.output(), "the API has started", process=process
            )
            until(lambda: answers(address), "the API answers", process=process)
            yield Api(process, address, token, stack)
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def offered():
    Product.objects.create(sku="MUG", name="Mug", unit_amount=1250, currency="eur")


def test_two_hundred_waiting_clients_block_no_order_and_hold_no_connection():
    order = harness.order(of="ada")
    with api(DATABASE_POOL_SIZE="4", WAITING_PLACES_PER_USER="200") as served:
        following = [served.follow(order) for _ in range(150)]
        waiting = [served.prefer_to_wait(order) for _ in range(50)]
        until(
            lambda: threads(served) > 200,
            "each waiting client has a thread",
            process=served.process,
        )

        assert [served.place().status_code for _ in range(10)] == [201] * 10
        assert not select.select(waiting, [], [], 0)[0]
        assert not any(has_ended(stream) for stream in following)

        assert 0 < max(sessions().values()) <= 4

        Order.objects.filter(id=order.id).update(status=Status.FULFILLED, ended_at=Now())
        answers_of_all = [read_answer(client) for client in waiting]
        assert all(b'"status":"fulfilled"' in answer for answer in answers_of_all)
        assert all(
            re.search(rb"(?i)\r\npreference-applied: wait=30\r\n", answer)
            for answer in answers_of_all
        )
        assert all(read_until(stream, END).endswith(END) for stream in following)


@pytest.mark.parametrize("start_waiting", [Api.follow, Api.wait])
def test_a_client_that_disconnects_frees_its_slot(start_waiting):
    order = harness.order(of="ada")
    with api(WAITING_PLACES="1") as served:
        client = start_waiting(served, order)
        assert served.stream_status(order).status_code == 503
        client.close()
        until(
            lambda: served.stream_status(order).status_code == 200,
            "a slot is free",
            process=served.process,
        )


def test_a_stop_ends_all_waiting_requests():
    order = harness.order(of="ada")
    with api("--graceful-timeout", "3600", WAITING_PLACES="2") as served:
        waiting, stream = served.wait(order), served.follow(order)
        assert served.stream_status(order).status_code == 503
        served.process.popen.send_signal(signal.SIGTERM)
        assert read_until(stream, END).endswith(END)
        assert read_answer(waiting).startswith(b"HTTP/1.1 200")
        assert served.process.popen.wait(LIMIT) == 0


def test_by_default_waiting_clients_leave_threads_for_other_requests():
    order = harness.order(of="ada")
    with api("--threads", "8", WAITING_PLACES_PER_USER="8") as served:
        following = [served.follow(order) for _ in range(7)]
        full = served.stream_status(order)
        assert (full.status_code, full.headers["Content-Type"]) == (503, "application/problem+json")
        assert full.headers["Retry-After"] == "5"
        at_once = served.request("GET", harness.path(order), Prefer="wait=30")
        assert (at_once.status_code, at_once.json()["status"]) == (200, "pending")
        assert "Preference-Applied" not in at_once.headers
        assert served.place().status_code == 201
        assert len(following) == 7


def test_one_user_gets_a_part_of_the_slots():
    order = harness.order(of="ada")
    with api("--threads", "64") as served:
        following = [served.follow(order) for _ in range(56 // 8)]
        refused = served.stream_status(order)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")

        served.headers = {"Authorization": f"Bearer {issue_token(harness.user('bob'))}"}
        assert has_ended(served.follow(harness.order(of="bob"))) is False
        assert not any(has_ended(stream) for stream in following)


def test_the_api_answers_503_until_its_database_accepts_connections():
    with api() as served:
        assert served.place().status_code == 201
        with no_connections():
            refused = served.place()
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
        until(
            lambda: served.place().status_code == 201,
            "the API places orders again",
            process=served.process,
        )


@contextmanager
def no_connections() -> Iterator[None]:
    """End the API's sessions in the orders database, and refuse new ones."""
    change = f'ALTER DATABASE "{connection.settings_dict["NAME"]}" WITH ALLOW_CONNECTIONS '
    with psycopg.connect(running().postgres.superuser_url, autocommit=True) as session:
        session.execute(change + "false")
        try:
            session.execute(END_SESSIONS, [NAME])
            yield
        finally:
            session.execute(change + "true")


def sessions() -> dict[str, int]:
    """Return the number of the API's sessions in each database."""
    with psycopg.connect(running().postgres.superuser_url, autocommit=True) as session:
        return dict(session.execute(SESSIONS, [NAME]).fetchall())


def threads(served: Api) -> int:
    """Return the number of threads of the worker."""
    return sum(child.num_threads() for child in psutil.Process(served.process.popen.pid).children())


def answers(address: str) -> bool:
    """Return whether the API answers."""
    try:
        return httpx.get(f"http://{address}/healthz", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def read_until(client: socket.socket, end: bytes) -> bytes:
    """Read until some bytes arrive or the connection ends."""
    found = b""
    while end not in found and (more := client.recv(65536)):
        found += more
    return found


def read_answer(client: socket.socket) -> bytes:
    """Read a response with a Content-Length."""
    head, _, body = read_until(client, b"\r\n\r\n").partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    assert length, head
    while len(body) < int(length[1]) and (more := client.recv(65536)):
        body += more
    return head + b"\r\n\r\n" + body


def has_ended(stream: socket.socket) -> bool:
    """Return whether a stream has ended. Comments that keep it alive are skipped."""
    while select.select([stream], [], [], 0)[0]:
        more = stream.recv(65536)
        if not more or END in more:
            return True
    return False
