"""Payments through Stripe's own client, against a sandbox in a process of its own."""

from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

from pytest_django import Settings

from tests.integration.payments.harness import Order
from tests.sandbox.process import API_KEY, SECRET, Sandbox

__all__ = ["confirm", "forget_keys", "moved_money", "time_of", "use_stripe"]


def use_stripe(settings: Settings, sandbox: Sandbox) -> None:
    """Configure payments to use Stripe's client with a sandbox."""
    settings.PAYMENT_GATEWAY = "stripe"
    settings.STRIPE_API_KEY = API_KEY
    settings.STRIPE_API_BASE = sandbox.url
    settings.STRIPE_WEBHOOK_SECRET = SECRET
    settings.PAYMENT_RETURN_URL = "https://shop.example/back"


def moved_money(sandbox: Sandbox, order: Order | UUID) -> Counter[str]:
    """Return the sums that the sandbox's ledger has captured and refunded for an order."""
    saga = str(order if isinstance(order, UUID) else order.saga)
    moved: Counter[str] = Counter()
    for entry in sandbox.ledger():
        if entry["order_id"] == saga and entry["status"] != "failed":
            moved[entry["kind"]] += entry["amount"]
    return moved


def confirm(sandbox: Sandbox, url: str, *, consent: bool = True) -> None:
    """Confirm or refuse a payment on the bank's page, as the customer."""
    answer = sandbox.http.post(url, data={"consent": "yes" if consent else "no"})
    assert answer.status_code == 303, answer.text


def time_of(sandbox: Sandbox) -> datetime:
    """Return the time by the sandbox's clock."""
    return datetime.fromtimestamp(sandbox.http.get("/sandbox/clock").json()["now"], UTC)


def forget_keys(sandbox: Sandbox) -> None:
    """Let the sandbox forget all keys that it has seen until now. Its clock stays ahead."""
    sandbox.control("clock", advance=25 * 3600)
