"""Carries events to the webhook endpoint, signed as Stripe signs them."""

import hmac
import logging
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import httpx

from tools.stripe_sandbox import deliveries
from tools.stripe_sandbox.books import Books
from tools.stripe_sandbox.deliveries import Delivery
from tools.stripe_sandbox.records import Event
from tools.stripe_sandbox.shapes import shape
from tools.stripe_sandbox.wire import to_json

__all__ = ["Courier", "signature"]

log = logging.getLogger("sandbox")

AT_ONCE = 8
PATIENCE_SECONDS = 10.0
FORGERS_SECRET = "whsec_of_somebody_else"  # noqa: S105 # wrong on purpose  # nosec B105


class Courier:
    """Takes what is due from the outbox to one endpoint, several at once, so in no order."""

    def __init__(self, books: Books, *, url: str, secret: str) -> None:
        """Carry to this URL, signing with this secret."""
        self.books = books
        self.url = url
        self.secret = secret
        self._client = httpx.Client(timeout=PATIENCE_SECONDS, trust_env=False)
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="courier")

    def run_once(self) -> int:
        """Carry what is due now; return how many deliveries that were."""
        return sum(self._pool.map(self._carry, deliveries.due(self.books, AT_ONCE)))

    def _carry(self, delivery: Delivery) -> bool:
        payload = to_json(shape(self.books, self.books.get(Event, delivery.event)))
        secret = FORGERS_SECRET if delivery.forged else self.secret
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (sandbox)",
            "Stripe-Signature": signature(
                payload, secret, at=int(self.books.now()) + delivery.shift
            ),
        }
        try:
            response = self._client.post(self.url, content=payload, headers=headers)
        except httpx.HTTPError as error:
            self._note(delivery, type(error).__name__, taken=False)
        else:
            self._note(delivery, str(response.status_code), taken=response.is_success)
        return True

    def _note(self, delivery: Delivery, answer: str, *, taken: bool) -> None:
        log.info("%s told: %s", delivery.event, answer)
        (deliveries.succeeded if taken else deliveries.failed)(self.books, delivery, answer)


def signature(payload: bytes, secret: str, *, at: int) -> str:
    """Return the Stripe-Signature header: https://docs.stripe.com/webhooks#verify-manually"""
    signed = hmac.new(secret.encode(), b"%d.%s" % (at, payload), sha256).hexdigest()
    return f"t={at},v1={signed}"
