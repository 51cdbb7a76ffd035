"""Refunds: at most the remaining amount of a charge. They settle at once, later, or fail."""

from typing import Any

from tools.stripe_sandbox.api_objects import to_api_object
from tools.stripe_sandbox.balance_transactions import enter_refund, enter_refund_failure
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.cards import FirstRefund, card_of
from tools.stripe_sandbox.currencies import require_step
from tools.stripe_sandbox.disputed_amounts import disputed_amount, is_in_dispute
from tools.stripe_sandbox.errors import ApiError, missing, not_found, server_error, unexpected_state
from tools.stripe_sandbox.events import record_event
from tools.stripe_sandbox.fault_rules import Fault
from tools.stripe_sandbox.pagination import page, retrieve_one
from tools.stripe_sandbox.records import Charge, Intent, PaymentMethod, Refund, new_id
from tools.stripe_sandbox.settlement_queue import remove, settle_later

__all__ = ["create", "fail", "fail_pending", "list_all", "refund", "retrieve", "settle"]

BOUNCE = ("pending", "failed")
UNFINISHED = ("pending", "requires_action")
REASONS = ("duplicate", "fraudulent", "requested_by_customer")


def create(call: Call) -> dict[str, Any]:
    """POST /v1/refunds, for a charge or for the latest charge of a payment intent"""
    form = call.form
    form.allow_only("charge", "payment_intent", "amount", "reason", "metadata", "currency")
    amount, reason, metadata = (
        form.integer("amount", least=1),
        form.choice("reason", REASONS),
        form.metadata(),
    )
    charge = _charge(call)
    fate = _fate(call, charge)
    if fate == FirstRefund.ERROR:
        raise server_error()

    made = refund(call, charge, amount, reason=reason, metadata=metadata, fate=fate)
    if fate == FirstRefund.TIMES_OUT:
        call.fault = Fault.TIMEOUT_DONE

    return to_api_object(call.store, made)


def refund(
    call: Call,
    charge: Charge,
    amount: int | None,
    *,
    reason: str | None = None,
    metadata: dict[str, str] | None = None,
    fate: FirstRefund = FirstRefund.USUAL,
) -> Refund:
    """Refund `amount` of a charge, or all that is left of it if the amount is None."""
    made = Refund(
        id=new_id("re"),
        created=call.now,
        charge=charge.id,
        payment_intent=charge.payment_intent,
        amount=_amount(call, charge, amount),
        currency=charge.currency,
        status="pending",
        metadata=metadata or {},
        reason=reason,
    )
    _record(call, charge, made, fate)

    return made


def retrieve(call: Call, id: str) -> dict[str, Any]:
    """GET /v1/refunds/{id}"""
    return retrieve_one(call, Refund, id)


def list_all(call: Call) -> dict[str, Any]:
    """GET /v1/refunds"""
    filters = {name: call.form.text(name) for name in ("charge", "payment_intent")}
    return page(
        call,
        Refund,
        "/v1/refunds",
        {name: [value] if value else [] for name, value in filters.items()},
    )


def settle(
    call: Call, refund: Refund, outcome: str, *, reason: str = "lost_or_stolen_card"
) -> None:
    """End a refund as `outcome` says; ignore a refund that has failed before."""
    if refund.status in {outcome, "failed"}:
        return

    refund.status = outcome
    if outcome == "failed":
        refund.failure_reason = reason
        enter_refund_failure(call, refund)
        charge = call.store.get(Charge, refund.charge)
        charge.amount_refunded -= refund.amount
        call.store.save(charge)

    call.store.save(refund)
    record_event(call, "refund.failed" if outcome == "failed" else "refund.updated", refund)


def fail(call: Call, refund: Refund, reason: str) -> None:
    """Fail a pending or succeeded refund; raise ApiError for a refund that has failed before."""
    if refund.status == "failed":
        raise ApiError(f"The refund {refund.id} has failed before.", param="id")

    remove(call.store, refund.id)
    settle(call, refund, "failed", reason=reason)


def fail_pending(call: Call, charge: str, reason: str) -> None:
    """Fail the unfinished refunds of a charge."""
    for refund in call.store.select(Refund, "AND json_extract(body, '$.charge') = ?", [charge]):
        if refund.status in UNFINISHED:
            fail(call, refund, reason)


def _charge(call: Call) -> Charge:
    charge_id, intent_id = call.form.text("charge"), call.form.text("payment_intent")
    if charge_id and intent_id:
        raise ApiError("Send a charge or a payment_intent, not both.", param="charge")
    if intent_id:
        return _charge_of_intent(call, intent_id)
    if not charge_id:
        raise missing("payment_intent")

    charge = call.store.find(Charge, charge_id)
    if charge is None:
        raise not_found("charge", charge_id, param="charge")

    return charge


def _charge_of_intent(call: Call, id: str) -> Charge:
    intent = call.store.find(Intent, id)
    if intent is None:
        raise not_found("payment_intent", id, param="payment_intent")

    if intent.status != "succeeded" or not intent.latest_charge:
        message = (
            f"The payment intent {id} has no successful charge to refund. "
            f"Its status is {intent.status}."
        )
        raise unexpected_state(message, to_api_object(call.store, intent))

    return call.store.get(Charge, intent.latest_charge)


def _amount(call: Call, charge: Charge, wanted: int | None) -> int:
    if not charge.captured:
        raise ApiError(
            "This charge is not captured. Cancel its payment intent instead.",
            param="charge",
            executed=True,
        )

    disputed = disputed_amount(call.store, charge)
    left = max(charge.amount_captured - charge.amount_refunded - disputed, 0)
    if is_in_dispute(call.store, charge) or (disputed and left == 0):
        raise ApiError(
            f"Charge {charge.id} has been charged back; cannot issue a refund.",
            code="charge_disputed",
            executed=True,
        )
    if left == 0:
        raise ApiError(
            f"Charge {charge.id} has already been refunded.",
            code="charge_already_refunded",
            executed=True,
        )

    if wanted is not None and wanted > left:
        raise ApiError(
            f"Refund amount ({wanted}) is greater than unrefunded amount on charge ({left}), "
            f"in minor units of {charge.currency}.",
            param="amount",
            executed=True,
        )

    if wanted is not None:
        require_step(wanted, charge.currency)

    return wanted or left


def _fate(call: Call, charge: Charge) -> FirstRefund:
    """Return the fate of the first refund of a charge, as its card says; later the usual one."""
    fate = card_of(call.store.get(PaymentMethod, charge.payment_method)).first_refund
    if fate == FirstRefund.USUAL:
        return fate

    first = call.store.execute(
        "INSERT OR IGNORE INTO lost (subject) VALUES (?) RETURNING subject", [f"refund {charge.id}"]
    )
    return fate if first else FirstRefund.USUAL


def _record(call: Call, charge: Charge, refund: Refund, fate: FirstRefund) -> None:
    card = card_of(call.store.get(PaymentMethod, charge.payment_method))
    refund.status, final_status = BOUNCE if fate == FirstRefund.BOUNCES else card.refund
    charge.amount_refunded += refund.amount
    enter_refund(call, refund)
    call.store.add(refund)
    call.store.save(charge)
    if final_status != refund.status:
        settle_later(call.store, refund.id, final_status)

    record_event(call, "charge.refunded", charge)
    record_event(call, "refund.created", refund)
