"""What Stripe tells us by itself. It decides nothing: it wakes the step that waits, and the step
asks Stripe.

Events come more than once, in any order, late, and of what we do not know. Each has its effect
once: its row commits with it. One that never comes costs a wait, for whatever waits also asks by
itself.
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
from django.db.models.functions import Now
from msgspec import Meta, Struct

from payments.models import Inbox, Payment, WebhookEvent
from sagas.storage import inbox, sql
from sagas.storage.registry import get_service

__all__ = ["Forged", "StripeEvent", "read", "receive"]

Effect = WebhookEvent.Effect
Status = Payment.Status

# Seconds, in both directions. Stripe signs each delivery anew, so an honest one is never older,
# whichever try it is.
TOLERANCE = 300

SIGNED_AT = re.compile(r"(?:^|,)t=([0-9]{1,15})(?:,|$)")
PLAIN = r"^[\x21-\x7e]+(?!\n)$"

Id = Annotated[str, Meta(min_length=1, max_length=255, pattern=PLAIN)]

# Money that came in, or did not go back after all: told of a payment that is over, it has us look
# again.
TURNS = {
    "payment_intent.succeeded",
    "charge.succeeded",
    "charge.captured",
    "refund.failed",
    "refund.updated",
    "charge.refund.updated",
}
OVER = (Status.VOID, Status.DECLINED, Status.REFUNDED)

INSERT = """
INSERT INTO payments_webhookevent (id, type, object_id, happened_at)
VALUES (%(id)s, %(type)s, %(object_id)s, %(happened_at)s) ON CONFLICT (id) DO NOTHING
"""


class Forged(Exception):
    """The request is not Stripe's, is too old or too new, or says nothing that we can read."""


class Told(Struct, frozen=True):
    """The object that an event tells of: an intent, a charge, a refund, or something that is no
    business of ours.
    """

    id: Any = None
    charge: Any = None
    metadata: Any = None


class Data(Struct, frozen=True):
    """Where an event keeps its object."""

    object: Told


class StripeEvent(Struct, frozen=True):
    """An event, as far as we read it."""

    id: Id
    type: Id
    created: Annotated[int, Meta(ge=0, le=32_503_680_000)]
    data: Data

    @property
    def object_id(self) -> str:
        """What it tells of."""
        return _plain(self.data.object.id)

    @property
    def charge_id(self) -> str:
        """The charge it tells of: the object's, or the object itself."""
        return _plain(self.data.object.charge) or self.object_id

    @property
    def saga(self) -> UUID | None:
        """The order that we wrote on what it tells of."""
        metadata = self.data.object.metadata
        try:
            return UUID(metadata["order_id"])
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


def read(body: bytes, signature: str) -> StripeEvent:
    """Return the event that Stripe has signed, and no other. Raises `Forged`."""
    if not settings.STRIPE_WEBHOOK_SECRET:  # what is signed with nothing, anyone can sign
        raise Forged("No events are taken here: STRIPE_WEBHOOK_SECRET is not set.")
    try:
        stripe.WebhookSignature.verify_header(
            body, signature, settings.STRIPE_WEBHOOK_SECRET, TOLERANCE
        )
    except (stripe.SignatureVerificationError, ValueError, TypeError) as error:
        raise Forged("The signature is not Stripe's, or is older than five minutes.") from error
    signed_at = SIGNED_AT.search(signature)
    if signed_at is None or int(signed_at[1]) > time.time() + TOLERANCE:
        raise Forged("The signature is from the future: a clock is wrong.")
    try:
        return msgspec.json.decode(body, type=StripeEvent)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Forged(f"The body is no event: {error}") from error


def receive(event: StripeEvent) -> WebhookEvent.Effect | None:
    """Commit an event with its effect, and return that; None if it had been received before."""
    with transaction.atomic(using="payments"):
        if not sql.run("payments", INSERT, _row(event)):
            return None
        order = _order_of(event)
        effect = Effect.UNKNOWN if order is None else _take_effect(event, order)
        WebhookEvent.objects.filter(id=event.id).update(order_id=order or event.saga, effect=effect)
    return effect


def _take_effect(event: StripeEvent, order: UUID) -> WebhookEvent.Effect:
    if _wake(order):
        return Effect.WOKE
    if event.type in TURNS and Payment.objects.filter(order_id=order, status__in=OVER).update(
        follow_at=Now()
    ):
        return Effect.FOLLOWED
    return Effect.NOTED


def _wake(order: UUID) -> int:
    waiting = Inbox.objects.filter(saga=order, state=Inbox.State.WAITING).values_list(
        "id", flat=True
    )
    return inbox.make_due_now(get_service("payments"), list(waiting))


def _order_of(event: StripeEvent) -> UUID | None:
    """Return the order, if it is one of ours: by what we wrote on the object, else by the
    charge.
    """
    ours = Payment.objects.values_list("order_id", flat=True)
    named = (
        ours.filter(order_id=event.saga)
        if event.saga
        else ours.filter(charge_id=event.charge_id or None)
    )
    return named.first()


def _row(event: StripeEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "object_id": event.object_id,
        "happened_at": datetime.fromtimestamp(event.created, UTC),
    }


def _plain(given: Any) -> str:
    """Return an id; where Stripe puts the whole object in its place, that object's."""
    if isinstance(given, dict):
        given = given.get("id")
    return (
        given if isinstance(given, str) and len(given) <= 255 and re.fullmatch(PLAIN, given) else ""
    )
