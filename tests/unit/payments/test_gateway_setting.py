"""PAYMENT_GATEWAY names a gateway that exists, or nothing starts."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from payments.checks import check_gateway
from payments.gateways import get_gateway, knows_gateway, reason_not_chargeable
from payments.gateways.base import PaymentGateway
from payments.gateways.simulated import SimulatedGateway

HERE = __name__


class ThirdGateway(SimulatedGateway):
    """A whole gateway of another module, which charges no more than 1,000 minor units."""

    @classmethod
    def reason_not_chargeable(cls, amount: int, currency: str) -> str:
        return f"More than 1000 {currency}." if amount > 1000 else ""


class HalfGateway(PaymentGateway):
    """A gateway without its methods."""


class NeedyGateway(SimulatedGateway):
    """A gateway that cannot be made without an argument."""

    def __init__(self, account: str) -> None:
        self.account = account


@override_settings(PAYMENT_GATEWAY="simulated")
def test_the_simulated_gateway_exists() -> None:
    assert isinstance(get_gateway(), SimulatedGateway)
    assert check_gateway() == []


@override_settings(PAYMENT_GATEWAY="piggy-bank")
def test_an_unknown_gateway_is_reported_with_the_known_names() -> None:
    with pytest.raises(
        ImproperlyConfigured, match="'piggy-bank'; this version has: simulated, stripe"
    ):
        get_gateway()
    assert [error.id for error in check_gateway()] == ["payments.E001"]


@override_settings(PAYMENT_GATEWAY=f"{HERE}.ThirdGateway")
def test_a_gateway_of_another_package_is_named_by_its_dotted_path() -> None:
    assert isinstance(get_gateway(), ThirdGateway)
    assert knows_gateway(f"{HERE}.ThirdGateway")
    assert check_gateway() == []


@override_settings(PAYMENT_GATEWAY=f"{HERE}.ThirdGateway")
def test_the_configured_gateway_says_what_it_cannot_charge() -> None:
    assert reason_not_chargeable(1000, "eur") == ""
    assert reason_not_chargeable(1001, "eur") == "More than 1000 eur."


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("acme.gateway.AcmeGateway", "cannot be imported: No module named 'acme'"),
        (f"{HERE}.NoSuchGateway", "cannot be imported: .*NoSuchGateway"),
        (f"{HERE}.HERE", "is not a class derived from payments.gateways.base.PaymentGateway"),
        ("pathlib.Path", "is not a class derived from payments.gateways.base.PaymentGateway"),
        (f"{HERE}.HalfGateway", "lacks these methods: authorize, balance, capture, charge, find"),
        (f"{HERE}.NeedyGateway", "cannot be made without arguments: .*account"),
        ("payments.gateways.stripe.StripeGateway", "Set it to 'stripe'"),
        ("acme." + 252 * "a", "at most 255 characters"),
    ],
)
def test_a_dotted_path_without_a_gateway_is_reported_with_the_reason(
    path: str, reason: str
) -> None:
    assert not knows_gateway(path)
    with (
        override_settings(PAYMENT_GATEWAY=path),
        pytest.raises(ImproperlyConfigured, match=reason),
    ):
        get_gateway()
    with override_settings(PAYMENT_GATEWAY=path):
        assert [error.id for error in check_gateway()] == ["payments.E001"]
