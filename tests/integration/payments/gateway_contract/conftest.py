"""Each test of the contract runs for each gateway that has the capabilities that the test needs.

GATEWAY_CONTRACT adds harnesses of gateways of other packages by their dotted paths, separated by
commas.
"""

import os
from collections.abc import Iterator

import pytest
from django.utils.module_loading import import_string
from pytest_django import Settings

from tests.integration.payments.gateway_contract.cases import needed_by
from tests.integration.payments.gateway_contract.harness import GatewayHarness
from tests.integration.payments.gateway_contract.simulated import SimulatedHarness
from tests.integration.payments.gateway_contract.stripe import StripeHarness
from tests.integration.payments.gateway_contract.third import ThirdHarness

NAMED = [path.strip() for path in os.environ.get("GATEWAY_CONTRACT", "").split(",") if path.strip()]
HARNESSES: list[type[GatewayHarness]] = [
    SimulatedHarness,
    StripeHarness,
    ThirdHarness,
    *map(import_string, NAMED),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the harnesses that have its capabilities, or with the class of each."""
    if "harness_class" in metafunc.fixturenames:
        metafunc.parametrize("harness_class", HARNESSES, ids=_name)
    if "running_harness" in metafunc.fixturenames:
        needed = needed_by(metafunc.function)
        able = [each for each in HARNESSES if all(map(each.has, needed))]
        assert able, f"No gateway has {needed}, so {metafunc.function.__name__} never runs."
        metafunc.parametrize("running_harness", able, indirect=True, ids=_name)


def _name(harness: type[GatewayHarness]) -> str:
    return harness.__name__.removesuffix("Harness").lower()


@pytest.fixture(scope="module")
def running_harness(request: pytest.FixtureRequest) -> Iterator[GatewayHarness]:
    """Run a gateway for the tests of a module."""
    with request.param.running() as harness:
        yield harness


@pytest.fixture
def harness(running_harness: GatewayHarness, settings: Settings) -> Iterator[GatewayHarness]:
    """Configure payments to use the gateway."""
    running_harness.configure(settings)
    yield running_harness
    running_harness.reset()
