"""Each gateway declares which cases it has. No test of the contract is left out in silence."""

from payments.gateways import gateway_class
from payments.gateways.base import PaymentGateway
from tests.integration.payments.gateway_contract.harness import (
    NEEDS,
    Capability,
    GatewayHarness,
)


def test_each_harness_names_a_gateway(harness_class: type[GatewayHarness]) -> None:
    assert issubclass(gateway_class(harness_class.gateway), PaymentGateway)
    assert harness_class.amounts["eur"] == 1250
    assert harness_class.not_chargeable


def test_a_missing_capability_has_a_reason(harness_class: type[GatewayHarness]) -> None:
    assert set(harness_class.lacks) <= set(Capability)
    assert all(harness_class.lacks.values())


def test_a_harness_can_cause_each_case_that_its_gateway_has(
    harness_class: type[GatewayHarness],
) -> None:
    missing = {
        capability: method
        for capability, methods in NEEDS.items()
        for method in methods
        if harness_class.has(capability)
        and getattr(harness_class, method) is getattr(GatewayHarness, method)
    }
    assert missing == {}
