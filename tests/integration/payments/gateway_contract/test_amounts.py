"""Amounts are in minor units of ISO 4217 everywhere, and only chargeable amounts are charged."""

import pytest

from payments.gateways import reason_not_chargeable
from payments.gateways.base import Absent, Declined, Refunded
from tests.integration.payments.gateway_contract.cases import (
    answer_of,
    balance_of,
    captured,
    movements_of,
    refund,
    refund_request,
    request,
)
from tests.integration.payments.gateway_contract.harness import GatewayHarness

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])


def test_each_currency_has_the_same_amount_everywhere(harness: GatewayHarness) -> None:
    for currency, amount in harness.amounts.items():
        assert reason_not_chargeable(amount, currency) == ""
        charge, taken = captured(harness, request(harness, amount=amount, currency=currency))
        assert taken.amount == amount
        assert balance_of(harness, charge).captured == amount
        assert refund(harness, refund_request(charge, taken)) == Refunded(
            _last_refund(harness, taken.charge_id), amount
        )

        assert balance_of(harness, charge).refunded == amount
        assert harness.moved_money(charge.order_id) == {"capture": amount, "refund": amount}
        lines = movements_of(harness, taken.charge_id)
        assert {(line.kind, line.amount, line.currency) for line in lines} == {
            ("capture", amount, currency),
            ("refund", amount, currency),
        }


def test_an_amount_that_cannot_be_charged_has_a_reason_and_is_declined(
    harness: GatewayHarness,
) -> None:
    client = harness.client()
    for amount, currency in harness.not_chargeable:
        assert reason_not_chargeable(amount, currency)
        charge = request(harness, amount=amount, currency=currency)
        assert isinstance(answer_of(client.charge, charge), Declined)
        assert isinstance(answer_of(client.authorize, charge), Declined)
        assert client.balance([charge]) == [Absent()]
        assert harness.moved_money(charge.order_id) == {}


def _last_refund(harness: GatewayHarness, charge_id: str) -> str:
    return movements_of(harness, charge_id)[-1].id
