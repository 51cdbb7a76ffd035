"""The sandbox reads amounts as Stripe does: units, steps, minimum and maximum of each currency."""

from typing import Any

import pytest
import stripe

from payments.gateways.stripe.currencies import STRIPE_CURRENCIES, to_stripe
from tests.sandbox.process import Sandbox
from tools.stripe_sandbox.currencies import CURRENCIES, require_chargeable
from tools.stripe_sandbox.errors import ApiError


@pytest.mark.parametrize(
    ("currency", "amount"),
    [
        ("eur", 50),
        ("eur", 99_999_999),
        ("jpy", 50),
        ("jpy", 9_999_999_999),
        ("idr", 999_999_999_999),
        ("isk", 500_000),
        ("ugx", 100),
        ("mga", 1_250),
        ("kwd", 12_340),
        ("krw", 50),
        ("huf", 17_501),
    ],
)
def test_an_amount_in_the_units_of_the_currency_is_charged(
    sandbox: Sandbox, currency: str, amount: int
) -> None:
    intent = sandbox.charge(currency=currency, amount=amount)
    assert (intent.status, intent.amount_received) == ("succeeded", amount)


@pytest.mark.parametrize(
    ("currency", "amount", "code", "param"),
    [
        ("eur", 49, "amount_too_small", "amount"),
        ("gbp", 29, "amount_too_small", "amount"),
        ("huf", 17_499, "amount_too_small", "amount"),
        ("eur", 100_000_000, "amount_too_large", "amount"),
        ("inr", 1_000_000_000, "amount_too_large", "amount"),
        ("isk", 5_050, "invalid_charge_amount", "amount"),
        ("ugx", 199, "invalid_charge_amount", "amount"),
        ("kwd", 12_345, "invalid_charge_amount", "amount"),
        ("iqd", 12_340, None, "currency"),
        ("xyz", 1_000, None, "currency"),
    ],
)
def test_an_amount_that_cannot_be_charged_is_refused_before_anything_is_made(
    sandbox: Sandbox, currency: str, amount: int, code: str | None, param: str
) -> None:
    before = sandbox.client.v1.payment_intents.list({"limit": 1}).data
    with pytest.raises(stripe.InvalidRequestError) as refused:
        sandbox.charge(currency=currency, amount=amount)

    assert (refused.value.http_status, refused.value.code, refused.value.param) == (
        400,
        code,
        param,
    )
    assert sandbox.client.v1.payment_intents.list({"limit": 1}).data == before


@pytest.mark.parametrize(("currency", "step"), [("isk", 100), ("kwd", 10)])
def test_captures_refunds_and_disputes_have_the_same_steps(
    sandbox: Sandbox, currency: str, step: int
) -> None:
    intents = sandbox.client.v1.payment_intents
    held = sandbox.charge(currency=currency, amount=10 * step, capture_method="manual")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        intents.capture(held.id, {"amount_to_capture": 5 * step + 1})

    assert refused.value.param == "amount_to_capture"
    intents.capture(held.id, {"amount_to_capture": 5 * step})

    params: Any = {"charge": held.latest_charge, "amount": step + 1}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        sandbox.client.v1.refunds.create(params)

    assert refused.value.param == "amount"
    assert sandbox.client.v1.refunds.create(params | {"amount": step}).amount == step

    disputed = sandbox.http.post("/sandbox/dashboard/disputes", json=params)
    assert disputed.status_code == 400


def test_the_gateway_and_the_sandbox_have_the_same_currencies() -> None:
    assert set(STRIPE_CURRENCIES.table) == CURRENCIES


@pytest.mark.parametrize("currency", sorted(CURRENCIES))
def test_the_gateway_allows_exactly_the_amounts_that_the_sandbox_takes(currency: str) -> None:
    rules = STRIPE_CURRENCIES.table[currency]
    least, most = rules.minimum, rules.maximum
    for amount in {least - 1, least, least + 1, 1234 * rules.step, most, most + 1}:
        allowed = not STRIPE_CURRENCIES.reason_not_chargeable(amount, currency)
        assert allowed == is_taken(amount, currency), amount


def is_taken(amount: int, currency: str) -> bool:
    """Return whether the sandbox takes an amount of ISO 4217 minor units."""
    try:
        require_chargeable(to_stripe(amount, currency), currency)
    except (ValueError, ApiError):  # ValueError: Stripe's units cannot express it
        return False
    return True
