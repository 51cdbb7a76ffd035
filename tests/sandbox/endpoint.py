"""A webhook endpoint that records all events and answers with the statuses that the test sets."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import stripe

from tests.processes import until
from tests.sandbox.process import SECRET
from tools.local.ports import HOST

__all__ = ["Endpoint", "ReceivedEvent", "listening"]


class ReceivedEvent(NamedTuple):
    """A delivery of an event: its body and its signature."""

    payload: bytes
    signature: str

    def verified(self) -> Any:
        """Verify the signature with Stripe's client; return the event."""
        return stripe.Webhook.construct_event(self.payload, self.signature, SECRET)


class Endpoint(ThreadingHTTPServer):
    """The endpoint. `answers` has the statuses of the next responses; later responses are 200."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), Handler)
        self.received: list[ReceivedEvent] = []
        self.answers: list[int] = []

    @property
    def url(self) -> str:
        """The URL of the endpoint."""
        return f"http://{HOST}:{self.server_port}/webhooks"

    def of_type(self, type_: str, *, at_least: int = 1) -> list[ReceivedEvent]:
        """Wait until at least `at_least` events of a type are received; return them all."""
        name = f'"type":"{type_}"'.encode()

        def found() -> list[ReceivedEvent]:
            return [event for event in list(self.received) if name in event.payload]

        until(lambda: len(found()) >= at_least, f"{at_least} {type_} are received")
        return found()


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        payload = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.answers.pop(0) if self.server.answers else 200
        self.server.received.append(ReceivedEvent(payload, self.headers["Stripe-Signature"]))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def listening() -> Iterator[Endpoint]:
    """Run an endpoint while the context lasts."""
    with Endpoint() as endpoint:
        thread = threading.Thread(target=endpoint.serve_forever)
        thread.start()

        try:
            yield endpoint
        finally:
            endpoint.shutdown()
            thread.join()
