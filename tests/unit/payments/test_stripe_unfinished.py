"""Every undecided Stripe intent has a deadline, and a page for its customer if there is one."""

import time
from datetime import timedelta
from typing import Any

import pytest
from stripe import Charge, PaymentIntent

from payments.gateways.base import ActionRequired, Pending
from payments.gateways.stripe.objects import time_of
from payments.gateways.stripe.unfinished import (
    DECISION_TAKES,
    METHODS,
    answer_to_action,
    answer_to_processing,
)

DAY = 86_400
CREATED = int(time.time())
DEADLINE = CREATED + 3 * DAY
PAGE = "https://payments.stripe.com/page"


def intent(action: dict[str, Any] | None = None, types: tuple[str, ...] = ("card",)) -> Any:
    fields = {
        "id": "pi_1",
        "created": CREATED,
        "next_action": action,
        "payment_method_types": list(types),
    }
    return PaymentIntent.construct_from(fields, "sk_test")


def action(kind: str, **details: Any) -> Any:
    return intent({"type": kind, kind: details})


@pytest.mark.parametrize(
    ("kind", "details", "method"),
    [
        ("boleto_display_details", {"hosted_voucher_url": PAGE, "expires_at": DEADLINE}, "boleto"),
        (
            "konbini_display_details",
            {"hosted_voucher_url": PAGE, "expires_at": DEADLINE},
            "konbini",
        ),
        (
            "multibanco_display_details",
            {"hosted_voucher_url": PAGE, "expires_at": DEADLINE},
            "multibanco",
        ),
        ("oxxo_display_details", {"hosted_voucher_url": PAGE, "expires_after": DEADLINE}, "oxxo"),
        ("pix_display_qr_code", {"hosted_instructions_url": PAGE, "expires_at": DEADLINE}, "pix"),
        (
            "swish_handle_redirect_or_display_qr_code",
            {"hosted_instructions_url": PAGE, "qr_code": {"expires_at": DEADLINE}},
            "swish",
        ),
        (
            "cashapp_handle_redirect_or_display_qr_code",
            {"hosted_instructions_url": PAGE, "qr_code": {"expires_at": DEADLINE}},
            "cashapp",
        ),
    ],
)
def test_a_voucher_or_a_code_has_stripes_page_and_deadline(
    kind: str, details: dict[str, Any], method: str
) -> None:
    assert answer_to_action(action(kind, **details)) == ActionRequired(
        PAGE, time_of(DEADLINE), method
    )


def test_a_voucher_paid_on_its_last_day_is_waited_for() -> None:
    over = [CREATED - DAY, CREATED - 6 * DAY]
    just_over, long_over = (
        answer_to_action(action("boleto_display_details", hosted_voucher_url=PAGE, expires_at=end))
        for end in over
    )
    assert isinstance(just_over, Pending)
    assert just_over.expected_at == time_of(over[0]) + DECISION_TAKES["boleto"]
    assert long_over == ActionRequired(PAGE, time_of(over[1]), "boleto")


def test_a_code_whose_time_is_over_is_not_waited_for() -> None:
    code = action("pix_display_qr_code", hosted_instructions_url=PAGE, expires_at=CREATED - DAY)
    assert isinstance(answer_to_action(code), ActionRequired)


@pytest.mark.parametrize(
    ("kind", "details", "method"),
    [
        ("redirect_to_url", {"url": PAGE, "return_url": "https://shop.example"}, "card"),
        ("alipay_handle_redirect", {"url": PAGE, "native_url": "alipay://"}, "alipay"),
        ("paynow_display_qr_code", {"hosted_instructions_url": PAGE}, "paynow"),
        ("promptpay_display_qr_code", {"hosted_instructions_url": PAGE}, "promptpay"),
        ("wechat_pay_display_qr_code", {"hosted_instructions_url": PAGE}, "wechat_pay"),
    ],
)
def test_a_page_without_a_deadline_leaves_the_deadline_to_our_setting(
    kind: str, details: dict[str, Any], method: str
) -> None:
    assert answer_to_action(action(kind, **details)) == ActionRequired(PAGE, None, method)


@pytest.mark.parametrize(
    ("kind", "page", "days"),
    [
        ("display_bank_transfer_instructions", "hosted_instructions_url", 14),
        ("verify_with_microdeposits", "hosted_verification_url", 12),
    ],
)
def test_a_transfer_takes_days(kind: str, page: str, days: int) -> None:
    answer = answer_to_action(action(kind, **{page: PAGE}))
    assert isinstance(answer, ActionRequired)
    assert (answer.url, answer.expires_at) == (PAGE, time_of(CREATED) + timedelta(days=days))


def test_an_action_without_a_page_is_a_wait_with_a_deadline() -> None:
    waits = [
        (action("blik_authorize"), time_of(CREATED) + timedelta(days=1)),
        (intent(), time_of(CREATED) + timedelta(days=1)),
        (action("boleto_display_details", expires_at=DEADLINE), time_of(DEADLINE)),
        (
            action("card_await_notification", charge_attempt_at=DEADLINE),
            time_of(DEADLINE) + timedelta(hours=1),
        ),
    ]
    for undecided, expected_at in waits:
        answer = answer_to_action(undecided)
        assert isinstance(answer, Pending)
        assert answer.expected_at == expected_at


def test_every_next_action_of_stripes_client_has_an_answer() -> None:
    kinds = PaymentIntent.NextAction._inner_class_types
    for kind in kinds:
        assert isinstance(answer_to_action(action(kind)), Pending)
        answer = answer_to_action(action(kind, hosted_instructions_url=PAGE))
        assert isinstance(answer, ActionRequired)
    several = {"redirect_to_url", "verify_with_microdeposits"}
    assert set(kinds) - several == set(METHODS)


@pytest.mark.parametrize(
    ("method", "takes"),
    [
        ("card", timedelta(hours=1)),
        ("sepa_debit", timedelta(days=14)),
        ("bacs_debit", DECISION_TAKES["bacs_debit"]),
        ("a_method_of_next_year", timedelta(days=1)),
    ],
)
def test_a_bank_has_the_time_of_its_kind_from_the_charge_on(method: str, takes: timedelta) -> None:
    fields = {"created": CREATED + 50_000, "payment_method_details": {"type": method}}
    charge = Charge.construct_from(fields, "sk_test")
    answer = answer_to_processing(intent(types=("card", "sepa_debit")), charge)
    assert answer.expected_at == time_of(CREATED + 50_000) + takes
    assert method in answer.reason


def test_a_processing_intent_without_a_charge_has_a_deadline() -> None:
    answer = answer_to_processing(intent(types=("us_bank_account",)), None)
    assert answer.expected_at == time_of(CREATED) + timedelta(days=8)
