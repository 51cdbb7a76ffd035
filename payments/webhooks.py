"""Stripe's webhook events. An event decides nothing: it wakes the waiting step, which asks Stripe.

Events come more than once, late, in any order, and about objects that we do not know. Each takes
effect once, because its row commits with its effect. A lost event costs only time, because each
waiting step also polls Stripe.
"""

import re
import time
from collections.abc import Sequence
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

# Most events change nothing, because the answer to our own request came first. This statement
# stores such an event, and commits by itself. An event that has to wake or follow up is not stored.
# Without coalesce(), the planner would read the partial indexes of waiting rows and pending refunds
# in full, because their statistics may be of a time when they were empty.
NOTE = """
WITH payment AS (
    SELECT order_id, status FROM payments_payment WHERE {found_by}
), effect AS (
    SELECT EXISTS (SELECT FROM payment WHERE status = ANY(%(statuses)s::text[]))
        OR EXISTS (SELECT FROM payments_inbox
                    WHERE coalesce(state, '') = 'waiting'
                      AND saga = ANY(ARRAY(
                          SELECT order_id FROM payment
                           UNION ALL
                          SELECT id FROM payments_partialrefund
                           WHERE coalesce(status, '') = 'pending'
                             AND order_id = (SELECT order_id FROM payment)))) AS is_due
), noted AS (
    INSERT INTO payments_webhookevent (id, type, object_id, happened_at, order_id, effect)
    SELECT %(id)s::text, %(type)s::text, %(object_id)s::text, %(happened_at)s::timestamptz,
           coalesce((SELECT order_id FROM payment), %(saga)s::uuid),
           CASE WHEN EXISTS (SELECT FROM payment) THEN 'noted' ELSE 'unknown' END
      FROM effect
     WHERE NOT is_due
        ON CONFLICT (id) DO NOTHING
 RETURNING effect
)
SELECT is_due, (SELECT effect FROM noted) FROM effect
"""
NOTE_BY_ORDER = NOTE.format(found_by="order_id = %(saga)s::uuid")
NOTE_BY_CHARGE = NOTE.format(found_by="charge_id = %(charge_id)s::text")


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
    is_due, noted = _note(event)
    if not is_due:
        return Effect(noted) if noted else None

    with transaction.atomic(using="payments"):
        if not sql.run("payments", INSERT, _row(event)):
            return None

        order = _find_order(event)
        effect = Effect.UNKNOWN if order is None else _apply(event, order)
        WebhookEvent.objects.filter(id=event.id).update(order_id=order or event.saga, effect=effect)
    return effect


def _note(event: StripeEvent) -> tuple[bool, str | None]:
    """Store an event that has nothing to do, in one statement.

    Return whether it has something to do, and else its effect, which is None if it was received
    before.
    """
    params = {
        **_row(event),
        "saga": event.saga,
        "statuses": sql.array_literal(_statuses_to_follow_up(event)),
    }
    if event.saga:
        [(is_due, noted)] = sql.fetch("payments", NOTE_BY_ORDER, params)
    else:
        params["charge_id"] = event.charge_id or None
        [(is_due, noted)] = sql.fetch("payments", NOTE_BY_CHARGE, params)
    return is_due, noted


def _apply(event: StripeEvent, order: UUID) -> WebhookEvent.Effect:
    followed = _schedule_follow_up(event, order)
    if queries.wake_up("payments", [order, *waiting_refunds(order)]):
        return Effect.WOKE
    return Effect.FOLLOWED if followed else Effect.NOTED


def _schedule_follow_up(event: StripeEvent, order: UUID) -> int:
    statuses = _statuses_to_follow_up(event)
    if not statuses:
        return 0
    failed = event.type == REFUND_FAILED
    return followup.schedule([order], statuses, again=True, refund_failed=failed)


def _statuses_to_follow_up(event: StripeEvent) -> Sequence[str]:
    """Return the statuses of payments for which an event schedules a follow-up."""
    if event.type.startswith(DISPUTE_EVENTS):
        return (*OVER, Status.CAPTURED)
    return FOLLOWED_UP.get(event.type, ())


def _find_order(event: StripeEvent) -> UUID | None:
    """Return the order if it has a payment: by the object's metadata, or else by its charge."""
    orders = Payment.objects.values_list("order_id", flat=True)
    if event.saga:
        return orders.filter(order_id=event.saga).first()
    return orders.filter(charge_id=event.charge_id).first() if event.charge_id else None


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
