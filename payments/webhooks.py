"""Stripe's webhook events. An event decides nothing: it wakes the waiting step, which asks Stripe.

Events come more than once, late, in any order, and about objects that we do not know. Each takes
effect once, because its row commits with its effect. A lost event costs only time, because each
waiting step also polls Stripe.
"""

import re
import time
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
import stripe
from django.conf import settings
from django.db import transaction
from msgspec import Meta, Struct

from payments import followup
from payments.models import Payment, WebhookEvent
from payments.partial_refunds import waiting_refunds
from sagas import queries, sql

__all__ = ["InvalidEvent", "StripeEvent", "receive", "verify"]

Effect = WebhookEvent.Effect
Status = Payment.Status

# Seconds between our clock and the signature's time, in both directions. Stripe signs each delivery
# anew, so a repeated event has a new time.
TOLERANCE = 300

SIGNED_AT = re.compile(r"(?:^|,)t=([0-9]{1,15})(?:,|$)")
PLAIN = r"^[\x21-\x7e]+(?!\n)$"

Id = Annotated[str, Meta(min_length=1, max_length=255, pattern=PLAIN)]

REFUND_FAILED = "refund.failed"

# Events that schedule a follow-up, by the statuses of the payments for which they do. Money that
# came in matters for a payment that is over. Refunds and disputes matter for each captured payment.
OVER = (Status.VOID, Status.DECLINED, Status.REFUNDED)
FOLLOWED_UP = {
    **dict.fromkeys(("payment_intent.succeeded", "charge.succeeded", "charge.captured"), OVER),
    **dict.fromkeys(
        (REFUND_FAILED, "refund.updated", "charge.refund.updated"), (*OVER, Status.CAPTURED)
    ),
    "charge.refunded": (Status.CAPTURED,),
}
DISPUTE_EVENTS = "charge.dispute."

INSERT = """
INSERT INTO payments_webhookevent (id, type, object_id, happened_at)
VALUES (%(id)s, %(type)s, %(object_id)s, %(happened_at)s) ON CONFLICT (id) DO NOTHING
"""


class InvalidEvent(Exception):
    """The request is not signed by Stripe, too old or too new, or not readable."""


class EventObject(Struct, frozen=True):
    """The object of an event: an intent, a charge, a refund, or any other kind of object."""

    id: Any = None
    charge: Any = None
    metadata: Any = None


class EventData(Struct, frozen=True):
    """The part of an event that holds its object."""

    object: EventObject


class StripeEvent(Struct, frozen=True):
    """The fields of an event that we read."""

    id: Id
    type: Id
    created: Annotated[int, Meta(ge=0, le=32_503_680_000)]
    data: EventData

    @property
    def object_id(self) -> str:
        """The id of the event's object."""
        return _plain_id(self.data.object.id)

    @property
    def charge_id(self) -> str:
        """The id of the object's charge, or of the object itself."""
        return _plain_id(self.data.object.charge) or self.object_id

    @property
    def saga(self) -> UUID | None:
        """The order id in the object's metadata."""
        metadata = self.data.object.metadata
        try:
            return UUID(metadata["order_id"])
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


def verify(body: bytes, signature: str) -> StripeEvent:
    """Return the event of a request that Stripe has signed. Raise InvalidEvent for any other."""
    # Anyone can sign with an empty secret.
    if not settings.STRIPE_WEBHOOK_SECRET:
        raise InvalidEvent(
            "This service takes no events, because STRIPE_WEBHOOK_SECRET is not set."
        )

    try:
        stripe.WebhookSignature.verify_header(
            body, signature, settings.STRIPE_WEBHOOK_SECRET, TOLERANCE
        )
    except (stripe.SignatureVerificationError, ValueError, TypeError) as error:
        raise InvalidEvent(
            "The signature does not match STRIPE_WEBHOOK_SECRET, or is older than five minutes."
        ) from error

    signed_at = SIGNED_AT.search(signature)
    if signed_at is None or int(signed_at[1]) > time.time() + TOLERANCE:
        raise InvalidEvent(
            "The signature's time is more than five minutes ahead of this server's clock."
        )

    try:
        return msgspec.json.decode(body, type=StripeEvent)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidEvent(f"The body is not a Stripe event: {error}") from error


def receive(event: StripeEvent) -> WebhookEvent.Effect | None:
    """Commit an event with its effect; return the effect, or None if it was received before."""
    with transaction.atomic(using="payments"):
        if not sql.run("payments", INSERT, _row(event)):
            return None

        order = _find_order(event)
        effect = Effect.UNKNOWN if order is None else _apply(event, order)
        WebhookEvent.objects.filter(id=event.id).update(order_id=order or event.saga, effect=effect)
    return effect


def _apply(event: StripeEvent, order: UUID) -> WebhookEvent.Effect:
    followed = _schedule_follow_up(event, order)
    if queries.wake_up("payments", [order, *waiting_refunds(order)]):
        return Effect.WOKE
    return Effect.FOLLOWED if followed else Effect.NOTED


def _schedule_follow_up(event: StripeEvent, order: UUID) -> int:
    statuses = FOLLOWED_UP.get(event.type, ())
    if event.type.startswith(DISPUTE_EVENTS):
        statuses = (*OVER, Status.CAPTURED)
    if not statuses:
        return 0
    failed = event.type == REFUND_FAILED
    return followup.schedule([order], statuses, again=True, refund_failed=failed)


def _find_order(event: StripeEvent) -> UUID | None:
    """Return the order if it has a payment: by the object's metadata, or else by its charge."""
    orders = Payment.objects.values_list("order_id", flat=True)
    if event.saga:
        return orders.filter(order_id=event.saga).first()
    return orders.filter(charge_id=event.charge_id or None).first()


def _row(event: StripeEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "object_id": event.object_id,
        "happened_at": datetime.fromtimestamp(event.created, UTC),
    }


def _plain_id(given: Any) -> str:
    """Return an id, or the id of a whole object in its place; empty if it is not usable."""
    if isinstance(given, dict):
        given = given.get("id")
    is_usable = isinstance(given, str) and len(given) <= 255 and re.fullmatch(PLAIN, given)
    return given if is_usable else ""
