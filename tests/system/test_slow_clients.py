"""Slow clients hold no thread of a real gunicorn with its own configuration."""

import json
import re
import signal
import socket
import time
from contextlib import ExitStack, closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders

from api.auth.tokens import issue_token
from config import server
from tests.processes import LIMIT, Process, until
from tools.local.ports import free_port

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True, databases="__all__"),
]

SLOW = 700
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
ORDERS = "/api/v1/orders/"
NAME = "admin/js/vendor/xregexp/xregexp.js"
BIG = f"GET /static/{NAME} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
BIG_FILE = Path(str(finders.find(NAME)))


class Api:
    """The API as a process, and raw connections to it."""

    def __init__(self, process: Process, port: int, stack: ExitStack) -> None:
        self.process = process
        self.port = port
        self.stack = stack

    def connect(self, sent: bytes = b"", *, receive_buffer: int = 0) -> socket.socket:
        """Open a connection and send some bytes."""
        opened = self.stack.enter_context(socket.socket())
        if receive_buffer:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        opened.settimeout(LIMIT)
        opened.connect(("127.0.0.1", self.port))
        opened.sendall(sent)
        return opened

    def statuses(self, times: int = 30) -> set[int]:
        """Return the statuses of some requests, each with a connection of its own."""
        return {self._status() for _ in range(times)}

    def answers(self) -> bool:
        """Return whether the API answers."""
        try:
            return self.statuses(1) == {200}
        except OSError:
            return False

    def _status(self) -> int:
        client = HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        with closing(client):
            client.request("GET", "/healthz")
            return client.getresponse().status


@contextmanager
def api(*options: str):
    """Run the API with the configuration of production: two processes of 256 threads."""
    port = free_port()
    with TemporaryDirectory() as folder, ExitStack() as stack:
        command = ("gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{port}", *options)
        process = Process(*command, log=Path(folder) / "log", environ={"HTTPS": "off"})
        try:
            served = Api(process, port, stack)
            until(served.answers, "the API answers", process=process)
            yield served
        finally:
            process.kill()


@pytest.fixture(scope="module")
def served(django_db_setup):
    with api() as running:
        yield running


@pytest.fixture
def connect(served):
    """Open connections that the end of the test closes."""
    with ExitStack() as served.stack:
        yield served.connect


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    found = b""
    while more := connection.recv(65536):
        found += more
    return found


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Read one answer with a Content-Length; return its status and body."""
    found = b""
    while b"\r\n\r\n" not in found:
        more = connection.recv(65536)
        assert more, found
        found += more
    head, _, body = found.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    assert length, head
    while len(body) < int(length[1]):
        more = connection.recv(65536)
        assert more, len(body)
        body += more
    return int(head.split()[1]), body


HALF_SENT = {
    "nothing": b"",
    "half a request line": b"GET /heal",
    "half of the headers": GET,
    "half of a body": b"POST /api/v1/orders/ HTTP/1.1\r\nHost: localhost\r\n"
    b'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"lines":',
    "a body that waits for 100 Continue": b"POST /api/v1/orders/ HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
}


@pytest.mark.parametrize("sent", HALF_SENT.values(), ids=HALF_SENT)
def test_seven_hundred_half_sent_requests_stop_nobody(served, connect, sent):
    slow = [connect(sent) for _ in range(SLOW)]
    assert served.statuses() == {200}
    assert len(slow) == SLOW


def test_seven_hundred_idle_connections_after_an_answer_stop_nobody(served, connect):
    idle = [connect(GET + b"\r\n") for _ in range(SLOW)]
    assert {read_answer(one)[0] for one in idle} == {200}
    assert served.statuses() == {200}


def test_seven_hundred_answers_that_nobody_reads_stop_nobody(served, connect):
    unread = [connect(BIG, receive_buffer=2048) for _ in range(SLOW)]
    assert served.statuses() == {200}
    assert len(unread) == SLOW


def test_an_answer_that_is_read_late_is_whole():
    with api("--workers", "1") as served:
        late = served.connect(BIG, receive_buffer=2048)
        assert served.statuses() == {200}
        late.sendall(GET + b"Connection: close\r\n\r\n")
        found = read_all(late)
        assert BIG_FILE.read_bytes() + b"HTTP/1.1 200" in found
        assert found.endswith(b'{"status": "ok"}')


def test_seven_hundred_closed_answers_that_the_client_keeps_open_stop_nobody(served, connect):
    kept = [connect(GET + b"Connection: close\r\n\r\n") for _ in range(SLOW)]
    assert served.statuses() == {200}
    assert read_all(kept[-1]).startswith(b"HTTP/1.1 200")


def test_more_slow_connections_than_the_limit_close_the_oldest_of_them():
    with api("--workers", "1", "--worker-connections", "300") as served:
        slow = [served.connect(GET) for _ in range(400)]
        assert served.statuses() == {200}
        assert slow[0].recv(1000) == b""
        slow[-1].sendall(b"\r\n")
        assert read_answer(slow[-1])[0] == 200
        until(
            lambda: "connections of slow clients" in served.process.output(),
            "the log tells of the closed connections",
            process=served.process,
        )


def test_a_request_that_arrives_too_slowly_is_answered_408(served, connect):
    slow = connect(GET)
    began = time.monotonic()
    answer = read_all(slow)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began >= server.RECEIVE_SECONDS - 1


def test_a_head_that_does_not_end_is_answered_431(served, connect):
    endless = connect(GET + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 8000) for n in range(20)))
    assert endless.recv(1000).startswith(b"HTTP/1.1 431 ")


def test_a_content_type_of_eight_kilobytes_is_not_parsed(served, connect):
    token = issue_token(User.objects.create_user("ada"))
    head = (
        f"POST {ORDERS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json{';' * 8_000}\r\nContent-Length: 2\r\n"
        "Idempotency-Key: k\r\n\r\n{}"
    )
    assert read_answer(connect(head.encode()))[0] == HTTPStatus.UNSUPPORTED_MEDIA_TYPE


def test_a_request_may_arrive_in_pieces_and_another_one_with_it(served, connect):
    line = connect()
    for byte in GET + b"\r\n":
        line.sendall(bytes([byte]))
    assert read_answer(line)[0] == 200
    line.sendall(3 * (GET + b"\r\n"))
    found = b""
    while found.count(b'{"status": "ok"}') < 3:
        found += line.recv(65536)
    assert found.count(b"HTTP/1.1 200") == 3


def test_a_body_that_waits_is_told_to_continue_once(served, connect):
    token = issue_token(User.objects.create_user("ada"))
    body = json.dumps({"lines": []}).encode()
    head = (
        f"POST {ORDERS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Expect: 100-continue\r\nIdempotency-Key: k\r\nConnection: close\r\n\r\n"
    )
    waiting = connect(head.encode())
    assert waiting.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    waiting.sendall(body)
    answer = read_all(waiting)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"])
@pytest.mark.parametrize("length", [256 * 1024 + 1, 3_000_000, 10**15])
def test_a_body_that_is_too_large_is_a_problem_before_it_has_arrived(
    served, connect, length, expect
):
    token = issue_token(User.objects.create_user("ada"))
    head = (
        f"POST {ORDERS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n{expect}"
        "Idempotency-Key: k\r\n\r\n"
    )
    large = connect(head.encode())
    if length < server.MAX_BODY:
        large.sendall(b"x" * length)
        if expect:
            assert large.recv(25) == server.CONTINUE
    status, body = read_answer(large)
    assert (status, json.loads(body)["type"]) == (413, "/errors/body-too-large")


def test_a_client_that_closes_its_end_within_a_body_gets_its_answer(served, connect):
    token = issue_token(User.objects.create_user("ada"))
    head = (
        f"POST {ORDERS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\nIdempotency-Key: k\r\n\r\n{"
    )
    closed = connect(head.encode())
    closed.shutdown(socket.SHUT_WR)
    assert read_answer(closed)[0] == HTTPStatus.BAD_REQUEST


def test_a_stop_waits_for_no_slow_client():
    with api("--graceful-timeout", "3600") as served:
        slow = [served.connect(sent) for sent in HALF_SENT.values()]
        assert served.statuses(1) == {200}
        served.process.popen.send_signal(signal.SIGTERM)
        assert served.process.popen.wait(LIMIT) == 0
        assert slow


@pytest.mark.parametrize(
    "options", [("--certfile", "x", "--keyfile", "x"), ("--proxy-protocol", "v1")]
)
def test_a_configuration_without_this_protection_is_logged(tmp_path, options):
    name = tmp_path / "x"
    name.write_text("")
    given = [str(name) if option == "x" else option for option in options]
    command = ("gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{free_port()}", *given)
    process = Process(*command, log=tmp_path / "log", environ={})
    try:
        until(
            lambda: "Slow clients can take all threads" in process.output(),
            "the log names the missing protection",
            process=process,
        )
    finally:
        process.kill()


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 3000000\r\n",
        "Content-Length: 30000000000000000000000\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: 500\r\n",
        "Content-Length: 500\r\nContent-Length: 500\r\n",
        "Content-Length: +500\r\n",
        "Content-Length : 500\r\n",
    ],
)
def test_a_body_that_was_not_received_is_never_taken_for_a_request(served, connect, framing):
    connection = connect(GET + framing.encode() + b"\r\n")
    assert connection.recv(65536).startswith(b"HTTP/1.1 ")
    answers = b""
    try:
        connection.sendall(GET + b"X-In-Body: yes\r\n\r\n")
        connection.settimeout(5)
        while more := connection.recv(65536):
            answers += more
    except OSError:
        pass  # the server has closed the connection
    assert b"HTTP/1.1 " not in answers


def test_a_connection_goes_on_after_a_whole_body_that_no_view_has_read(served, connect):
    connection = connect()
    for _ in range(3):
        connection.sendall(GET + b"Content-Length: 5\r\n\r\nabcde")
        assert read_answer(connection)[0] == 200
