"""Run the sandbox as a real process, which a test can kill and restart, with Stripe's client."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import stripe

from tests.processes import until
from tools.local.ports import HOST, free_port
from tools.local.processes import Process
from tools.local.rundir import PROJECT

__all__ = ["API_KEY", "SECRET", "Sandbox", "headers", "running"]

API_KEY = "sk_test_of_the_tests"
SECRET = "whsec_of_the_tests"

NEVER_REDIRECT = {"enabled": True, "allow_redirects": "never"}


class Sandbox:
    """A sandbox process with its own ledger."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.log = folder / "log"
        self.process = Process(
            "sandbox",
            [
                *(sys.executable, "-m", "tools.stripe_sandbox", "--port", str(self.port)),
                *(
                    "--ledger",
                    str(folder / "ledger.sqlite3"),
                    "--api-key",
                    API_KEY,
                    "--webhook-secret",
                    SECRET,
                ),
                *options,
            ],
            log=self.log,
            cwd=PROJECT,
        )
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=30)
        self.client = self.stripe_client()

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self.process.start()
        until(self.answers, "the sandbox answers")

    def answers(self) -> bool:
        """Return whether the sandbox answers."""
        try:
            return self.http.get("/sandbox/health").is_success
        except httpx.TransportError:
            return False

    def stripe_client(self, *, timeout: float = 30, retries: int = 0) -> stripe.StripeClient:
        """Return Stripe's client for the sandbox."""
        return stripe.StripeClient(
            API_KEY,
            base_addresses={"api": self.url},
            max_network_retries=retries,
            http_client=stripe.RequestsClient(timeout=timeout),
        )

    def create(
        self, payment_method: str | None = "pm_card_visa", *, key: str | None = None, **params: Any
    ) -> Any:
        """Create a payment intent of 12.50 euros for order `o-1`."""
        given: Any = {"amount": 1250, "currency": "eur", "metadata": {"order_id": "o-1"}}
        if payment_method:
            given["payment_method"] = payment_method
        if "payment_method_types" not in params:
            given["automatic_payment_methods"] = NEVER_REDIRECT

        return self.client.v1.payment_intents.create(given | params, options(key))

    def charge(
        self, payment_method: str = "pm_card_visa", *, key: str | None = None, **params: Any
    ) -> Any:
        """Create a payment intent and confirm it in the same call."""
        return self.create(payment_method, key=key, confirm=True, **params)

    def events(self) -> list[str]:
        """Return the types of all events, oldest first."""
        newest_first = self.client.v1.events.list({"limit": 100}).auto_paging_iter()
        return [str(event.type) for event in newest_first][::-1]

    def events_of(self, id_: str) -> list[str]:
        """Return the types of the events about one object, oldest first."""
        newest_first = self.client.v1.events.list({"limit": 100}).auto_paging_iter()
        return [str(each.type) for each in newest_first if each.data.object["id"] == id_][::-1]

    def control(self, path: str, **body: Any) -> Any:
        """Call the control API; return its answer."""
        response = self.http.post(f"/sandbox/{path}", json=body)
        assert response.is_success, response.text
        return response.json()

    def fault(self, operation: str, fault: str, **rule: Any) -> None:
        """Add a fault rule."""
        self.control("faults", operation=operation, fault=fault, **rule)

    def ledger(self) -> list[dict[str, Any]]:
        """Return every entry of the ledger."""
        response = self.http.get("/sandbox/ledger", params={"limit": 1000}).json()
        assert not response["has_more"]
        return list(response["data"])


def options(key: str | None) -> Any:
    """Return the options of a request with this idempotency key."""
    return {} if key is None else {"idempotency_key": key}


def headers(answer: Any) -> dict[str, str]:
    """Return the response headers of an object or of an error."""
    given: Any = answer if isinstance(answer, stripe.StripeError) else answer.last_response
    return dict(given.headers)


@contextmanager
def running(*options: str) -> Iterator[Sandbox]:
    """Run a sandbox with an empty ledger."""
    with TemporaryDirectory() as folder:
        sandbox = Sandbox(Path(folder), *options)
        try:
            sandbox.start()
            yield sandbox
        finally:
            sandbox.process.kill()
            sandbox.http.close()
