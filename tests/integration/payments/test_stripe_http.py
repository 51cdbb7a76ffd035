"""Stripe's client sends our key to Stripe alone, over connections that stay open, and keeps to the
proxy of the environment."""

import os
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
import stripe
from pytest_django import Settings

from payments.gateways.base import Unanswered
from payments.gateways.stripe import http
from payments.gateways.stripe.account import Account
from payments.gateways.stripe.error_meanings import answer_to_error
from tests.integration.doctor.harness import certificate

KEY = "sk_test_of_the_tests"
INTENT = b'{"id": "pi_1", "object": "payment_intent", "status": "succeeded"}'
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class Seen(NamedTuple):
    """A request at the server, and the client's end of its connection."""

    target: str
    headers: dict[str, str]
    client: tuple[str, int]


class Server(NamedTuple):
    """A server that answers each request with an intent."""

    url: str
    seen: list[Seen]


@contextmanager
def serving(
    tls: tuple[Path, Path] | None = None, *, answers_garbled: bool = False
) -> Iterator[Server]:
    """Run a server at 127.0.0.1. `tls` is its certificate and its key.

    `answers_garbled`: it gets each request, and answers with bytes that are no TLS.
    """
    seen: list[Seen] = []

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen.append(Seen(self.path, headers, self.client_address))
            if answers_garbled:
                os.write(self.connection.fileno(), b"no TLS at all")
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(INTENT)))
            self.end_headers()
            self.wfile.write(INTENT)

        def do_CONNECT(self) -> None:
            seen.append(Seen(self.path, {}, self.client_address))
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            """Log no requests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Server(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}", seen)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def _without_proxies(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.STRIPE_API_KEY = KEY
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def retrieve(settings: Settings, base: str, *, times: int = 1) -> None:
    settings.STRIPE_API_BASE = base
    for _ in range(times):
        assert Account(time.monotonic() + 5).retrieve("pi_1").id == "pi_1"


def reason(settings: Settings, base: str) -> str:
    """Return our words for a request without an answer."""
    with pytest.raises(stripe.APIConnectionError) as raised:
        retrieve(settings, base)
    answer = answer_to_error(raised.value)
    assert isinstance(answer, Unanswered)
    return answer.reason


def test_an_entry_of_netrc_does_not_replace_the_key(
    server: Server, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password secret\ndefault login x password y\n")
    monkeypatch.setenv("NETRC", str(netrc))
    retrieve(settings, server.url)
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"


def test_requests_share_a_connection(server: Server, settings: Settings) -> None:
    retrieve(settings, server.url, times=5)
    assert len(server.seen) == 5
    assert len({each.client for each in server.seen}) == 1


def test_the_proxy_of_the_environment_gets_the_requests_with_its_password(
    server: Server, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url.replace("//", "//ada:secret@"))
    retrieve(settings, "http://proxied.invalid")
    (seen,) = server.seen
    assert seen.target == "http://proxied.invalid/v1/payment_intents/pi_1"
    assert seen.headers["host"] == "proxied.invalid"
    assert seen.headers["proxy-authorization"] == "Basic YWRhOnNlY3JldA=="
    assert seen.headers["authorization"] == f"Bearer {KEY}"


def test_a_proxy_tunnels_https_and_does_not_see_the_key(
    server: Server, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.url.removeprefix("http://"))
    reason(settings, "https://tunnelled.invalid")
    assert [(seen.target, seen.headers) for seen in server.seen] == [("tunnelled.invalid:443", {})]


@pytest.mark.parametrize("left_out", ["127.0.0.1", "127.0.0.0/8", "*"])
def test_no_proxy_names_servers_that_are_reached_directly(
    server: Server, settings: Settings, monkeypatch: pytest.MonkeyPatch, left_out: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", left_out)
    retrieve(settings, server.url)
    assert server.seen[0].target == "/v1/payment_intents/pi_1"


def test_the_environment_and_the_authorities_are_read_once(
    server: Server, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    for name in ("get_environ_proxies", "create_urllib3_context"):
        original = getattr(http, name)

        def counted(
            *args: object, _name: str = name, _original: object = original, **named: object
        ) -> object:
            read.append(_name)
            return _original(*args, **named)  # type: ignore[operator]

        monkeypatch.setattr(http, name, counted)
    retrieve(settings, server.url, times=3)
    assert sorted(read) == ["create_urllib3_context", "get_environ_proxies"]


def test_a_proxy_without_a_usable_address_is_no_crash(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://:port")
    assert reason(settings, "http://malformed.invalid").startswith("Stripe did not answer")


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:1", "https://127.0.0.1:1", "http://unknown.invalid"]
)
def test_a_server_that_is_not_reached_got_nothing(settings: Settings, base: str) -> None:
    assert reason(settings, base) == "Stripe could not be reached; nothing was sent."


def test_a_proxy_that_is_not_reached_got_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    never_sent = "Stripe could not be reached; nothing was sent."
    assert reason(settings, "http://unproxied.invalid") == never_sent


def test_a_certificate_of_another_authority_is_refused_before_the_key_is_sent(
    settings: Settings, tmp_path: Path
) -> None:
    with serving(certificate(tmp_path, "127.0.0.1")) as impostor:
        never_sent = "Stripe could not be reached; nothing was sent."
        assert reason(settings, impostor.url) == never_sent
    assert impostor.seen == []


def test_a_request_whose_answer_breaks_tls_may_have_been_done(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority, key = certificate(tmp_path, "127.0.0.1")
    monkeypatch.setattr(stripe, "ca_bundle_path", str(authority))
    with serving((authority, key), answers_garbled=True) as running:
        assert reason(settings, running.url).startswith("Stripe did not answer")
    assert len(running.seen) == 1


@pytest.mark.parametrize(("address", "is_trusted"), [("127.0.0.1", True), ("127.0.0.2", False)])
def test_the_name_of_a_certificate_of_stripes_authorities_is_verified(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    address: str,
    is_trusted: bool,
) -> None:
    authority, key = certificate(tmp_path, address)
    monkeypatch.setattr(stripe, "ca_bundle_path", str(authority))
    with serving((authority, key)) as running:
        if is_trusted:
            retrieve(settings, running.url, times=2)
        else:
            reason(settings, running.url)
    assert len({seen.client for seen in running.seen}) == int(is_trusted)
