"""Which client a real gunicorn on a dual-stack socket limits, behind a proxy and without one."""

from contextlib import contextmanager
from http import HTTPStatus

import httpx
import pytest
from django.contrib.auth.models import User

from tests import processes
from tools.local.ports import free_port

pytestmark = [
    pytest.mark.system,
    pytest.mark.django_db(transaction=True, databases="__all__"),
]

TOKEN = "/api/v1/auth/token/"
RIGHT = "correct horse"
LOCKED = [401, 401, 429]


@pytest.fixture(autouse=True)
def ada():
    User.objects.create_user("ada", password=RIGHT)


@contextmanager
def api(**environ: str):
    """Run the API on all addresses of both versions; yield its port."""
    limits = {"LOGIN_FAILURES": "3", "RATE_LIMIT_LOGINS": "0", "HTTPS": "off"}
    port = free_port()
    options = ("--bind", f"[::]:{port}", "--workers", "1")
    with processes.api(*options, environ={**limits, **environ}) as (_, process):
        yield port, process


def login(port, password, *forwarded, source="127.0.0.1"):
    """Log in from an address of this machine, with some lines of X-Forwarded-For."""
    host = "[::1]" if ":" in source else "127.0.0.1"
    transport = httpx.HTTPTransport(local_address=source)
    with httpx.Client(transport=transport, timeout=processes.LIMIT) as client:
        return client.post(
            f"http://{host}:{port}{TOKEN}",
            json={"username": "ada", "password": password},
            headers=[("X-Forwarded-For", line) for line in forwarded],
        ).status_code


def lock(port, *forwarded, source="127.0.0.1"):
    return [login(port, "wrong", *forwarded, source=source) for _ in range(3)]


def test_an_ipv4_client_locks_no_other_ipv4_client_and_no_ipv6_client():
    with api() as (port, _):
        assert lock(port, source="127.0.0.1") == LOCKED
        assert login(port, RIGHT, source="127.0.0.1") == HTTPStatus.TOO_MANY_REQUESTS
        assert login(port, RIGHT, "127.0.0.2", source="127.0.0.1") == HTTPStatus.TOO_MANY_REQUESTS
        assert login(port, RIGHT, source="127.0.0.2") == HTTPStatus.OK
        assert login(port, RIGHT, source="::1") == HTTPStatus.OK


def test_behind_a_proxy_each_client_is_limited_for_itself():
    with api(TRUSTED_PROXIES="1") as (port, process):
        assert lock(port, "192.0.2.66", "198.51.100.1:4711") == LOCKED
        same = [("198.51.100.1",), ("x, ::ffff:198.51.100.1",), ("[::ffff:198.51.100.1]:80",)]
        assert {login(port, RIGHT, *lines) for lines in same} == {HTTPStatus.TOO_MANY_REQUESTS}
        others = [("198.51.100.2",), ("198.51.100.1", "[2001:db8::1]:443"), ("unknown",), ()]
        assert {login(port, RIGHT, *lines) for lines in others} == {HTTPStatus.OK}

        assert [login(port, "wrong", "unknown") for _ in range(5)] == [401] * 5
        assert login(port, RIGHT, "unknown") == HTTPStatus.OK
        assert process.output().count("A client's address is unknown") == 1
