"""The answer of an undecided intent: an act of the customer, or a wait, each with its deadline."""

from datetime import UTC, datetime, timedelta
from typing import Any

from stripe import Charge, PaymentIntent

from payments.gateways.base import ActionRequired, Pending
from payments.gateways.stripe.objects import time_of

__all__ = ["answer_to_action", "answer_to_processing"]

# Where a next action has the page that the customer opens, and the deadline that Stripe sets:
# https://docs.stripe.com/api/payment_intents/object#payment_intent_object-next_action
PAGES = ("hosted_voucher_url", "hosted_instructions_url", "hosted_verification_url", "url")
DEADLINES = ("expires_at", "expires_after")

# The kind of payment method of each next action. A redirect may be of any kind.
METHODS = {
    "alipay_handle_redirect": "alipay",
    "blik_authorize": "blik",
    "boleto_display_details": "boleto",
    "card_await_notification": "card",
    "cashapp_handle_redirect_or_display_qr_code": "cashapp",
    "display_bank_transfer_instructions": "customer_balance",
    "klarna_display_qr_code": "klarna",
    "konbini_display_details": "konbini",
    "multibanco_display_details": "multibanco",
    "oxxo_display_details": "oxxo",
    "paynow_display_qr_code": "paynow",
    "pix_display_qr_code": "pix",
    "promptpay_display_qr_code": "promptpay",
    "swish_handle_redirect_or_display_qr_code": "swish",
    "upi_handle_redirect_or_display_qr_code": "upi",
    "wechat_pay_display_qr_code": "wechat_pay",
    "wechat_pay_redirect_to_android_app": "wechat_pay",
    "wechat_pay_redirect_to_ios_app": "wechat_pay",
}

# The time of the customer where Stripe sets no deadline. Bank transfers take days. Microdeposits
# arrive after two business days, and Stripe accepts their amounts for ten days:
# https://docs.stripe.com/payments/ach-direct-debit#verification
ACTION_TAKES = {
    "display_bank_transfer_instructions": timedelta(days=14),
    "verify_with_microdeposits": timedelta(days=12),
}

# A voucher that is paid on its last day is reported some days later. Until then, it is not barred.
VOUCHERS = {
    "boleto_display_details",
    "konbini_display_details",
    "multibanco_display_details",
    "oxxo_display_details",
}

# The time until a bank has decided, at the latest, with weekends and holidays. Stripe tells
# business days: https://docs.stripe.com/payments/payment-methods/payment-method-support and the
# page of each method, such as https://docs.stripe.com/payments/bacs-debit.
DECISION_TAKES = {
    "card": timedelta(hours=1),
    "link": timedelta(hours=1),
    "acss_debit": timedelta(days=9),  # 5 business days
    "au_becs_debit": timedelta(days=7),  # 3 business days
    "bacs_debit": timedelta(days=12),  # 7 business days
    "boleto": timedelta(days=5),  # 2 business days after the payment
    "konbini": timedelta(days=5),
    "multibanco": timedelta(days=5),
    "nz_bank_account": timedelta(days=7),  # 3 business days
    "oxxo": timedelta(days=5),
    "sepa_debit": timedelta(days=14),
    "sofort": timedelta(days=14),
    "us_bank_account": timedelta(days=8),  # 4 business days
}
USUAL_DECISION = timedelta(days=1)


def answer_to_action(intent: PaymentIntent) -> ActionRequired | Pending:
    """Return the answer of an intent with the status `requires_action`."""
    action: Any = intent.next_action
    kind = str(getattr(action, "type", ""))
    details = getattr(action, kind, None) if kind else None

    deadline = _deadline(details)
    takes = ACTION_TAKES.get(kind)
    if deadline is None and takes:
        deadline = time_of(intent.created) + takes

    page = next((str(url) for name in PAGES if (url := getattr(details, name, None))), "")
    if page:
        late = _late_report(kind, deadline)
        return late or ActionRequired(page, deadline, _method_of(intent, kind))

    attempt_at = getattr(details, "charge_attempt_at", None)
    if attempt_at:
        deadline = time_of(attempt_at) + DECISION_TAKES["card"]
    return Pending(
        f"The customer has to confirm the payment in an app ({kind or 'no next action'}).",
        deadline or time_of(intent.created) + USUAL_DECISION,
    )


def answer_to_processing(intent: PaymentIntent, charge: Charge | None) -> Pending:
    """Return the answer of an intent with the status `processing`, and its latest charge.

    The bank's time starts with the charge: the intent may have waited before it was confirmed.
    """
    details = charge.payment_method_details if charge else None
    method = str(details.type) if details else _method_of(intent, "")
    started_at = time_of(charge.created if charge else intent.created)
    return Pending(
        f"The customer's bank has not decided yet ({method or 'payment method unknown'}).",
        started_at + DECISION_TAKES.get(method, USUAL_DECISION),
    )


def _late_report(kind: str, deadline: datetime | None) -> Pending | None:
    """Return the wait for the report of a voucher whose time has just ended; None without one."""
    if deadline is None or kind not in VOUCHERS:
        return None

    reported_by = deadline + DECISION_TAKES[METHODS[kind]]
    if not deadline <= datetime.now(UTC) < reported_by:
        return None
    return Pending(
        "The voucher's time is over. It may have been paid on its last day.", reported_by
    )


def _deadline(details: Any) -> datetime | None:
    """Return Stripe's own deadline: of the details, or of their QR code."""
    for source in (details, getattr(details, "qr_code", None)):
        for name in DEADLINES:
            seconds = getattr(source, name, None)
            if seconds:
                return time_of(seconds)
    return None


def _method_of(intent: PaymentIntent, action: str) -> str:
    """Return the kind of the payment method, as far as the intent tells."""
    types = intent.payment_method_types
    return METHODS.get(action) or (types[0] if len(types) == 1 else "")
