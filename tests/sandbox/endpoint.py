"""A webhook endpoint that records all events and answers as the test says."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import stripe

from tests.processes import until
from tests.sandbox.process import SECRET
from tools.local.ports import HOST

__all__ = ["Endpoint", "Telling", "listening"]


class Telling(NamedTuple):
    """One delivery: its body and its signature."""

    payload: bytes
    signature: str

    def event(self) -> Any:
        """Return the event, once Stripe's client has verified the signature."""
        return stripe.Webhook.construct_event(self.payload, self.signature, SECRET)


class Endpoint(ThreadingHTTPServer):
    """Listens until it is shut down. `answers` are the statuses still to be given; after them it
    is 200.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), Handler)
        self.told: list[Telling] = []
        self.answers: list[int] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.server_port}/webhooks"

    def of_type(self, type_: str, *, at_least: int = 1) -> list[Telling]:
        """Wait until events of a type have been told so often; return them all."""
        name = f'"type":"{type_}"'.encode()

        def found() -> list[Telling]:
            return [telling for telling in list(self.told) if name in telling.payload]

        until(lambda: len(found()) >= at_least, f"{at_least} of {type_} are told")
        return found()


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        payload = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.answers.pop(0) if self.server.answers else 200
        self.server.told.append(Telling(payload, self.headers["Stripe-Signature"]))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def listening() -> Iterator[Endpoint]:
    """Run an endpoint."""
    with Endpoint() as endpoint:
        thread = threading.Thread(target=endpoint.serve_forever)
        thread.start()

        try:
            yield endpoint
        finally:
            endpoint.shutdown()
            thread.join()
