"""Refunds: never more than a charge has left, and settled at once, later, or not at all."""

from typing import Any

from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import ApiError, missing, no_such, unexpected_state
from tools.stripe_sandbox.events import happened
from tools.stripe_sandbox.lists import one, page
from tools.stripe_sandbox.methods import behaviour
from tools.stripe_sandbox.records import Charge, Intent, PaymentMethod, Refund, new_id
from tools.stripe_sandbox.settlements import settle_later
from tools.stripe_sandbox.shapes import shape

__all__ = ["create", "list_all", "retrieve", "settle"]

REASONS = ("duplicate", "fraudulent", "requested_by_customer")


def create(call: Call) -> dict[str, Any]:
    """POST /v1/refunds: of a charge, or of the charge that a payment intent ended with."""
    form = call.form
    form.only("charge", "payment_intent", "amount", "reason", "metadata", "currency")
    amount, reason, metadata = (
        form.integer("amount", least=1),
        form.choice("reason", REASONS),
        form.metadata(),
    )
    charge = _charge(call)
    refund = Refund(
        id=new_id("re"),
        created=call.now,
        charge=charge.id,
        payment_intent=charge.payment_intent,
        amount=_amount(charge, amount),
        currency=charge.currency,
        status="pending",
        metadata=metadata,
        reason=reason,
    )
    _book(call, charge, refund)
    return shape(call.books, refund)


def retrieve(call: Call, id: str) -> dict[str, Any]:
    """GET /v1/refunds/{id}"""
    return one(call, Refund, id)


def list_all(call: Call) -> dict[str, Any]:
    """GET /v1/refunds"""
    filters = {name: call.form.text(name) for name in ("charge", "payment_intent")}
    return page(
        call,
        Refund,
        "/v1/refunds",
        {name: [value] if value else [] for name, value in filters.items()},
    )


def settle(call: Call, refund: Refund, outcome: str) -> None:
    """Let a refund succeed or fail, as the bank says in the end. One that has failed is left as
    it is.
    """
    if refund.status in {outcome, "failed"}:
        return
    refund.status = outcome
    if outcome == "failed":
        refund.failure_reason = "lost_or_stolen_card"
        charge = call.books.get(Charge, refund.charge)
        charge.amount_refunded -= refund.amount
        call.books.save(charge)
    call.books.save(refund)
    happened(call, "refund.failed" if outcome == "failed" else "refund.updated", refund)


def _charge(call: Call) -> Charge:
    charge_id, intent_id = call.form.text("charge"), call.form.text("payment_intent")
    if charge_id and intent_id:
        raise ApiError("Give a charge or a payment_intent, not both.", param="charge")
    if intent_id:
        return _charge_of_intent(call, intent_id)
    if not charge_id:
        raise missing("payment_intent")
    charge = call.books.find(Charge, charge_id)
    if charge is None:
        raise no_such("charge", charge_id, param="charge")
    if not charge.captured:
        raise ApiError(
            "This charge has taken no money. Cancel its payment intent.",
            param="charge",
            executed=True,
        )
    return charge


def _charge_of_intent(call: Call, id: str) -> Charge:
    intent = call.books.find(Intent, id)
    if intent is None:
        raise no_such("payment_intent", id, param="payment_intent")
    if intent.status != "succeeded" or not intent.latest_charge:
        message = f"The payment intent {id} has no successful charge to refund; its status is {intent.status}."
        raise unexpected_state(message, shape(call.books, intent))
    return call.books.get(Charge, intent.latest_charge)


def _amount(charge: Charge, wanted: int | None) -> int:
    left = charge.amount_captured - charge.amount_refunded
    if left == 0:
        raise ApiError(
            f"Charge {charge.id} has already been refunded.",
            code="charge_already_refunded",
            executed=True,
        )
    if wanted is not None and wanted > left:
        raise ApiError(
            f"Refund amount ({wanted}) is greater than unrefunded amount on charge ({left}), in minor units of"
            f" {charge.currency}.",
            param="amount",
            executed=True,
        )
    return wanted or left


def _book(call: Call, charge: Charge, refund: Refund) -> None:
    refund.status, in_the_end = behaviour(
        call.books.get(PaymentMethod, charge.payment_method)
    ).refund
    charge.amount_refunded += refund.amount
    call.books.add(refund)
    call.books.save(charge)
    call.books.moved("refund", refund.id)
    if in_the_end != refund.status:
        settle_later(call.books, refund.id, in_the_end)
    happened(call, "charge.refunded", charge)
    happened(call, "refund.created", refund)
