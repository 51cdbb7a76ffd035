"""The system with a payment sandbox, which sends webhooks to a real API."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from django.test import Client
from pytest_django import Settings

from tests.integration.payments.stripe_harness import moved_money, use_stripe
from tests.processes import Process, beat, until, worker
from tests.sandbox.process import API_KEY, SECRET, Sandbox, running
from tests.system.harness import QUICK, SERVICES
from tools.local.ports import free_port

__all__ = ["StripeSystem", "net", "next_action", "running_workers", "stripe_system"]

WEBHOOKS = "/api/v1/payments/webhooks/stripe/"


class StripeSystem:
    """The sandbox, the API's address, and the environment of all processes."""

    def __init__(self, sandbox: Sandbox, api: str, **environ: str) -> None:
        self.sandbox = sandbox
        self.api = api
        self.environ = (
            QUICK
            | environ
            | {
                "PAYMENT_GATEWAY": "stripe",
                "STRIPE_API_KEY": API_KEY,
                "STRIPE_API_BASE": sandbox.url,
                "STRIPE_WEBHOOK_SECRET": SECRET,
            }
        )

    def serve(self, folder: Path, **environ: str) -> Process:
        """Start the API and wait until it answers."""
        options = (
            "--bind",
            self.api.removeprefix("http://"),
            "--threads",
            "4",
        )
        process = Process(
            "gunicorn", "config.wsgi", *options, log=folder / "api", environ=self.environ | environ
        )
        until(self.answers, "the API answers", process=process)
        return process

    def answers(self) -> bool:
        """Return whether the API answers."""
        try:
            return httpx.get(f"{self.api}/healthz", trust_env=False, timeout=2).is_success
        except httpx.TransportError:
            return False


@pytest.fixture
def stripe_system(settings: Settings) -> Iterator[StripeSystem]:
    """Run a sandbox that sends webhooks to the API."""
    api = f"http://127.0.0.1:{free_port()}"
    with running("--webhook-url", f"{api}{WEBHOOKS}", "--settle-seconds", "1") as sandbox:
        use_stripe(settings, sandbox)
        yield StripeSystem(sandbox, api, PAYMENT_ACTION_SECONDS="12")


@contextmanager
def running_workers(
    stripe_system: StripeSystem, folder: Path, services: Sequence[str] = SERVICES
) -> Iterator[Process]:
    """Run a worker of some services, beat and the API."""
    with ExitStack() as stack:
        working = stack.enter_context(
            worker(*services, environ=stripe_system.environ, concurrency=3)
        )
        stack.enter_context(beat(environ=stripe_system.environ))
        api = stripe_system.serve(folder)
        stack.callback(api.kill)
        yield working


def next_action(client: Client, placed: str) -> Any:
    """Return the action that an order's customer must take, or None."""
    return client.get(f"/api/v1/orders/{placed}/").json()["next_action"]


def net(stripe_system: StripeSystem, placed: str) -> int:
    """Return the money that is left of an order in the sandbox's ledger, in minor units."""
    moved = moved_money(stripe_system.sandbox, UUID(placed))
    return moved["capture"] + moved["dispute_return"] - moved["refund"] - moved["dispute"]
