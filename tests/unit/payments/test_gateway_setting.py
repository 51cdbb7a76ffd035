"""PAYMENT_GATEWAY names a gateway that exists, or nothing starts."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from payments.checks import check_gateway
from payments.gateways import get_gateway
from payments.gateways.simulated import SimulatedGateway


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
