"""The acts of a person in the provider's dashboard, without our keys and our metadata.

The control API has them under /sandbox/dashboard/. Each act has the same webhooks as at Stripe.
"""

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from tools.stripe_sandbox import intents, refunds
from tools.stripe_sandbox.api_objects import to_api_object
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import not_found
from tools.stripe_sandbox.http import read_json
from tools.stripe_sandbox.records import Charge, Intent, Record

__all__ = ["ACTS", "Act"]

R = TypeVar("R", bound=Record)

Act: TypeAlias = Callable[..., dict[str, Any]]
Amount = Annotated[int, Meta(ge=1)]


class RefundByHand(msgspec.Struct, forbid_unknown_fields=True):
    """Refund a charge, by default all that is left of it."""

    charge: str
    amount: Amount | None = None


class CaptureByHand(msgspec.Struct, forbid_unknown_fields=True):
    """Capture a part of an authorization, by default all of it. The rest is released."""

    payment_intent: str
    amount: Amount | None = None


def refund(call: Call, body: bytes) -> dict[str, Any]:
    """POST /sandbox/dashboard/refunds"""
    act = read_json(body, RefundByHand)
    charge = _find(call, Charge, act.charge, "charge")
    return to_api_object(call.store, refunds.refund(call, charge, act.amount))


def capture(call: Call, body: bytes) -> dict[str, Any]:
    """POST /sandbox/dashboard/captures"""
    act = read_json(body, CaptureByHand)
    intent = _find(call, Intent, act.payment_intent, "payment_intent")
    intents.capture_part(call, intent, act.amount)
    return to_api_object(call.store, intent)


ACTS: dict[str, Act] = {
    "/sandbox/dashboard/refunds": refund,
    "/sandbox/dashboard/captures": capture,
}


def _find(call: Call, kind: type[R], id: str, param: str) -> R:
    record = call.store.find(kind, id)
    if record is None:
        raise not_found(kind.kind, id, param=param)
    return record
