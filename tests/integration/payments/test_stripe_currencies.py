"""Stripe charges, refunds and reports the amount of an order, also where its units differ."""

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from payments.gateways import get_gateway
from payments.gateways.base import (
    Absent,
    Captured,
    ChargeBalance,
    ChargeRequest,
    Declined,
    Refunded,
    RefundRequest,
    Unanswered,
    Voided,
)
from sagas.ids import uuid7
from tests.integration.payments.stripe_harness import moved_money, time_of
from tests.sandbox.process import Sandbox

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])


def request(method: str = "pm_card_visa") -> ChargeRequest:
    order_id = uuid7()
    return ChargeRequest(f"charge-{order_id}", order_id, 900, "eur", method)


def test_an_amount_without_a_unit_of_stripes_is_declined_in_words(sandbox: Sandbox) -> None:
    charge = replace(request(), amount=125_050, currency="mga")
    declined = Declined(
        "invalid_amount", "Stripe charges MGA only in steps of 1.00.", "invalid_amount"
    )
    assert get_gateway().charge([charge]) == [declined]
    assert get_gateway().find([charge]) == [Absent()]
    assert get_gateway().void([charge]) == [Voided()]


@pytest.mark.parametrize(
    ("amount", "currency", "reason"),
    [
        (49, "eur", "Stripe charges at least 0.50 EUR."),
        (100_000_000, "eur", "Stripe charges at most 999,999.99 EUR."),
    ],
)
def test_a_refused_amount_is_not_told_as_a_declined_card(
    sandbox: Sandbox, amount: int, currency: str, reason: str
) -> None:
    charge = replace(request(), amount=amount, currency=currency)
    assert get_gateway().charge([charge]) == [Declined("invalid_amount", reason, "invalid_amount")]


@pytest.mark.parametrize(
    ("amount", "currency", "in_stripe"),
    [
        (5000, "isk", 500_000),
        (5000, "ugx", 500_000),
        (125_000, "mga", 1250),
        (12_340, "kwd", 12_340),
    ],
)
def test_an_amount_is_charged_refunded_and_read_in_stripes_units(
    sandbox: Sandbox, amount: int, currency: str, in_stripe: int
) -> None:
    charge = replace(request(), amount=amount, currency=currency)
    (captured,) = get_gateway().charge([charge])
    assert isinstance(captured, Captured)
    assert captured.amount == amount
    assert moved_money(sandbox, charge.order_id) == {"capture": in_stripe}
    refund = RefundRequest(
        f"refund-{charge.order_id}", charge.order_id, captured.charge_id, amount, currency
    )
    (refunded,) = get_gateway().refund([refund])
    assert isinstance(refunded, Refunded)
    assert refunded.amount == amount
    assert get_gateway().balance([charge]) == [
        ChargeBalance(charge_id=captured.charge_id, captured=amount, refunded=amount)
    ]
    moved = [
        (line.kind, line.amount)
        for line in get_gateway().statement(*window(sandbox))
        if line.charge_id == captured.charge_id
    ]
    assert moved == [("capture", amount), ("refund", amount)]


def intent_of_last_release(sandbox: Sandbox, charge: ChargeRequest, *, confirm: bool) -> str:
    """Make an intent under the charge's key, with its minor units as if they were Stripe's."""
    intent = sandbox.client.v1.payment_intents.create(
        {
            "amount": charge.amount,
            "currency": charge.currency,
            "payment_method": charge.payment_method,
            "metadata": {"order_id": str(charge.order_id), "key": charge.key},
        },
        {"idempotency_key": charge.key},
    )
    if confirm:
        sandbox.client.v1.payment_intents.confirm(
            intent.id, {"return_url": "https://shop.example/back"}
        )
    return str(intent.id)


def test_a_charge_that_the_last_release_made_in_other_units_is_told_as_it_is(
    sandbox: Sandbox,
) -> None:
    charge = replace(request(), amount=5000, currency="isk")
    intent_of_last_release(sandbox, charge, confirm=True)
    for method in (get_gateway().charge, get_gateway().find, get_gateway().void):
        (answer,) = method([charge])
        assert isinstance(answer, Captured)
        assert answer.amount == 50


def test_an_intent_of_another_amount_is_not_confirmed_but_can_be_voided(sandbox: Sandbox) -> None:
    charge = replace(request(), amount=5000, currency="isk")
    intent = intent_of_last_release(sandbox, charge, confirm=False)
    (answer,) = get_gateway().charge([charge])
    assert isinstance(answer, Unanswered)
    assert f"{intent} was made with other parameters: it is for 50 ISK" in answer.reason
    assert get_gateway().void([charge]) == [Voided()]
    assert not moved_money(sandbox, charge.order_id)


def window(sandbox: Sandbox) -> tuple[datetime, datetime]:
    """Return the last hour of the sandbox's clock."""
    now = time_of(sandbox)
    return now - timedelta(hours=1), now + timedelta(minutes=1)
