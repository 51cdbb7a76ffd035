import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pytest_django import Settings

from payments.gateways.stripe.account import http
from tests.integration.payments.stripe_harness import use_stripe
from tests.sandbox.process import Sandbox, running


@pytest.fixture(scope="module")
def sandbox_process() -> Iterator[Sandbox]:
    """Run a sandbox for the tests of a module. Its payments settle only on request."""
    with running("--settle-seconds", "3600") as sandbox:
        yield sandbox
        http(sandbox.url).close()


@pytest.fixture
def sandbox(sandbox_process: Sandbox, settings: Settings) -> Iterator[Sandbox]:
    """Use the sandbox as the gateway, without faults."""
    use_stripe(settings, sandbox_process)
    yield sandbox_process
    sandbox_process.http.delete("/sandbox/faults").raise_for_status()


@pytest.fixture
def redirecting(sandbox: Sandbox) -> Iterator[str]:
    """Return the address of a host that redirects every request to the sandbox."""

    class Redirecting(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(302)
            self.send_header("Location", f"{sandbox.url}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log no requests."""

    server = HTTPServer(("127.0.0.1", 0), Redirecting)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
