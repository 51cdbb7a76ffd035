"""Send events to the webhook endpoint, signed as Stripe signs them."""

import hmac
import logging
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import urllib3

from tools.stripe_sandbox import deliveries
from tools.stripe_sandbox.api_objects import to_api_object
from tools.stripe_sandbox.deliveries import Delivery
from tools.stripe_sandbox.http import to_json
from tools.stripe_sandbox.records import Event
from tools.stripe_sandbox.store import Store

__all__ = ["WebhookSender", "signature"]

log = logging.getLogger("sandbox")

CONCURRENCY = 8
TIMEOUT_SECONDS = 10.0
WRONG_SECRET = "whsec_of_somebody_else"  # noqa: S105 # wrong on purpose  # nosec B105


class WebhookSender:
    """Sends due deliveries to one endpoint, several at once and in no fixed order."""

    def __init__(self, store: Store, *, url: str, secret: str) -> None:
        """Send to `url`, and sign with `secret`."""
        self.store = store
        self.url = url
        self.secret = secret
        self._connections = urllib3.PoolManager(maxsize=CONCURRENCY, timeout=TIMEOUT_SECONDS)
        self._pool = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="webhook")

    def run_once(self) -> int:
        """Send the due deliveries; return their number."""
        return sum(self._pool.map(self._send, deliveries.due(self.store, CONCURRENCY)))

    def _send(self, delivery: Delivery) -> bool:
        payload = to_json(to_api_object(self.store, self.store.get(Event, delivery.event)))
        secret = WRONG_SECRET if delivery.forged else self.secret
        headers = {
            "Accept": "*/*",
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (sandbox)",
            "Stripe-Signature": signature(
                payload, secret, at=int(self.store.now()) + delivery.shift
            ),
        }

        try:
            response = self._connections.urlopen(
                "POST", self.url, body=payload, headers=headers, retries=False, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            self._record(delivery, type(error).__name__, delivered=False)
        else:
            self._record(delivery, str(response.status), delivered=200 <= response.status < 300)

        return True

    def _record(self, delivery: Delivery, answer: str, *, delivered: bool) -> None:
        log.info("Sent event %s to the webhook endpoint: %s", delivery.event, answer)
        record = deliveries.succeeded if delivered else deliveries.failed
        record(self.store, delivery, answer)


def signature(payload: bytes, secret: str, *, at: int) -> str:
    """Return the Stripe-Signature header: https://docs.stripe.com/webhooks#verify-manually"""
    signed = hmac.new(secret.encode(), b"%d.%s" % (at, payload), sha256).hexdigest()
    return f"t={at},v1={signed}"
