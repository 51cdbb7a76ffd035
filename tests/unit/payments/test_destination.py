"""A request flies to the gateway of its payment, unless that gateway answers at once."""

import pytest
from django.test import override_settings
from msgspec.structs import replace

from payments.gateway_requests import ChargeAttempt, RefundPlan, destination
from payments.gateways.base import ChargeRequest
from payments.steps import Authorize, Capture, Charge, Refund, Void
from sagas.ids import uuid7

CHARGE = ChargeRequest("charge-1", uuid7(), 900, "eur", "pm_card_visa", gateway="stripe")


def test_a_request_to_stripe_flies() -> None:
    assert destination(CHARGE) == "stripe"
    assert Charge().destination(ChargeAttempt(CHARGE)) == "stripe"
    assert Authorize().destination(ChargeAttempt(CHARGE)) == "stripe"
    assert Capture().destination(ChargeAttempt(CHARGE)) == "stripe"
    assert Refund().destination(RefundPlan(CHARGE, "refund-1", None)) == "stripe"
    assert Void().destination(RefundPlan(CHARGE, "refund-1", None)) == "stripe"


@pytest.mark.parametrize("name", ["simulated", "acme.gateway.OfAnEarlierRelease"])
def test_a_request_to_a_ledger_or_to_no_gateway_does_not_fly(name: str) -> None:
    assert destination(replace(CHARGE, gateway=name)) is None


def test_a_payment_without_a_gateway_uses_the_one_of_the_settings() -> None:
    with override_settings(PAYMENT_GATEWAY="stripe"):
        assert destination(replace(CHARGE, gateway="")) == "stripe"
    with override_settings(PAYMENT_GATEWAY="simulated"):
        assert destination(replace(CHARGE, gateway="")) is None
