"""The acts of a person in the provider's dashboard, without our keys and our metadata.

The control API has them under /sandbox/dashboard/. Each act has the same webhooks as at Stripe.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from tools.stripe_sandbox import disputes, intents, refunds
from tools.stripe_sandbox.api_objects import to_api_object
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import not_found
from tools.stripe_sandbox.http import read_json
from tools.stripe_sandbox.records import Charge, Dispute, Intent, Record, Refund

__all__ = ["ACTS", "Act"]

R = TypeVar("R", bound=Record)

Act: TypeAlias = Callable[..., dict[str, Any]]
Amount = Annotated[int, Meta(ge=1)]


# https://docs.stripe.com/disputes/categories
Reason = Literal[
    "bank_cannot_process",
    "check_returned",
    "credit_not_processed",
    "customer_initiated",
    "debit_not_authorized",
    "duplicate",
    "fraudulent",
    "general",
    "incorrect_account_details",
    "insufficient_funds",
    "noncompliant",
    "product_not_received",
    "product_unacceptable",
    "subscription_canceled",
    "unrecognized",
]


# https://docs.stripe.com/refunds#failed-refunds
FailureReason = Literal[
    "charge_for_pending_refund_disputed",
    "declined",
    "expired_or_canceled_card",
    "insufficient_funds",
    "lost_or_stolen_card",
    "merchant_request",
    "unknown",
]


class RefundByHand(msgspec.Struct, forbid_unknown_fields=True):
    """Refund a charge, by default all that is left of it."""

    charge: str
    amount: Amount | None = None


class CaptureByHand(msgspec.Struct, forbid_unknown_fields=True):
    """Capture a part of an authorization, by default all of it. The rest is released."""

    payment_intent: str
    amount: Amount | None = None


class NewDispute(msgspec.Struct, forbid_unknown_fields=True):
    """Dispute a charge, by default all that is left of it. A `warning_…` is an inquiry."""

    charge: str
    amount: Amount | None = None
    reason: Reason = "fraudulent"
    status: Literal["needs_response", "warning_needs_response"] = "needs_response"


class DisputeStep(msgspec.Struct, forbid_unknown_fields=True):
    """The next status of a dispute."""

    status: str


class FailureByHand(msgspec.Struct, forbid_unknown_fields=True):
    """Fail a refund, even after its success."""

    reason: FailureReason = "lost_or_stolen_card"


def refund(call: Call, body: bytes) -> dict[str, Any]:
    """POST /sandbox/dashboard/refunds"""
    act = read_json(body, RefundByHand)
    charge = _find(call, Charge, act.charge, "charge")
    return to_api_object(call.store, refunds.refund(call, charge, act.amount))


def fail_refund(call: Call, body: bytes, id: str) -> dict[str, Any]:
    """POST /sandbox/dashboard/refunds/{id}/fail, an act of the customer's bank"""
    act = read_json(body or b"{}", FailureByHand)
    refund = _find(call, Refund, id, "id")
    refunds.fail(call, refund, act.reason)
    return to_api_object(call.store, refund)


def capture(call: Call, body: bytes) -> dict[str, Any]:
    """POST /sandbox/dashboard/captures"""
    act = read_json(body, CaptureByHand)
    intent = _find(call, Intent, act.payment_intent, "payment_intent")
    intents.capture_part(call, intent, act.amount)
    return to_api_object(call.store, intent)


def open_dispute(call: Call, body: bytes) -> dict[str, Any]:
    """POST /sandbox/dashboard/disputes, an act of the customer's bank"""
    act = read_json(body, NewDispute)
    charge = _find(call, Charge, act.charge, "charge")
    dispute = disputes.open_dispute(
        call, charge, amount=act.amount, reason=act.reason, status=act.status
    )
    return to_api_object(call.store, dispute)


def proceed_with_dispute(call: Call, body: bytes, id: str) -> dict[str, Any]:
    """POST /sandbox/dashboard/disputes/{id}"""
    act = read_json(body, DisputeStep)
    dispute = _find(call, Dispute, id, "id")
    disputes.proceed(call, dispute, act.status)
    return to_api_object(call.store, dispute)


ACTS: dict[str, Act] = {
    "/sandbox/dashboard/refunds": refund,
    "/sandbox/dashboard/refunds/([^/]+)/fail": fail_refund,
    "/sandbox/dashboard/captures": capture,
    "/sandbox/dashboard/disputes": open_dispute,
    "/sandbox/dashboard/disputes/([^/]+)": proceed_with_dispute,
}


def _find(call: Call, kind: type[R], id: str, param: str) -> R:
    record = call.store.find(kind, id)
    if record is None:
        raise not_found(kind.kind, id, param=param)
    return record
