"""The payment steps keep the engine's contract of an external step, at each gateway."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.conf import settings as django_settings
from pytest_django import Settings

from payments.steps import OrderToCharge
from sagas import Delivery
from sagas.ids import uuid7
from sagas.testing import Case, ExternalStepContract
from tests.integration.payments.gateway_contract.harness import GatewayHarness, Method
from tests.integration.payments.gateway_contract.simulated import SimulatedHarness
from tests.integration.payments.gateway_contract.stripe import StripeHarness
from tests.integration.payments.gateway_contract.third import ThirdHarness

BEHAVIOURS = {
    Case.ORDINARY: Method.SUCCEEDS,
    Case.REFUSED: Method.DECLINES,
    Case.UNREACHABLE: Method.LOSES_REQUEST,
    Case.NO_ANSWER: Method.LOSES_ANSWER,
}


@pytest.fixture(scope="class")
def running(request: pytest.FixtureRequest) -> Iterator[GatewayHarness]:
    """Run the gateway of a class."""
    with request.cls.gateway.running() as harness:
        yield harness


class ChargeContract(ExternalStepContract):
    """The contract of a charge and its refund, at one gateway."""

    gateway: ClassVar[type[GatewayHarness]]
    harness: GatewayHarness

    @pytest.fixture(autouse=True)
    def _configured(self, running: GatewayHarness, settings: Settings) -> Iterator[None]:
        running.configure(settings)
        self.harness = running
        yield
        running.reset()

    def delivery(self, case: Case) -> Delivery[Any]:
        """Return an order whose payment method behaves so."""
        method = self.harness.method(BEHAVIOURS[case])
        return Delivery(saga=uuid7(), context=OrderToCharge(1250, "eur", method))

    def effects(self, delivery: Delivery[Any]) -> int:
        """Return how often the order was paid, by the ledger of the gateway."""
        moved = self.harness.moved_money(delivery.saga)
        return (moved["capture"] - moved["refund"]) // 1250


def class_of_the_page() -> type[ExternalStepContract]:
    """Return the class in the snippet of docs/testing-a-saga.md, which runs unchanged."""
    page = Path(django_settings.BASE_DIR, "docs/testing-a-saga.md").read_text()
    block = re.search(r'^```python title="contract"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    assert block
    harness = SimulatedHarness()
    module: dict[str, Any] = {
        "__name__": __name__,
        "pytest": pytest,
        "OrderToCharge": OrderToCharge,
        "CARDS": {
            case: harness.method(behaviour)
            for case, behaviour in BEHAVIOURS.items()
            if case is not Case.UNREACHABLE
        },
        "captures": lambda order: harness.moved_money(order)["capture"] // 1250,
        "refunds": lambda order: harness.moved_money(order)["refund"] // 1250,
    }
    exec(compile(block[1], "testing-a-saga.md", "exec"), module)
    found: type[ExternalStepContract] = module["TestCharge"]
    return found


TestThePage = class_of_the_page()


@pytest.mark.django_db(transaction=True, databases="__all__")
class TestSimulated(ChargeContract):
    step, undo = "payments.charge", "payments.refund"
    gateway = SimulatedHarness


@pytest.mark.django_db(transaction=True, databases="__all__")
class TestStripe(ChargeContract):
    step, undo = "payments.charge", "payments.refund"
    gateway = StripeHarness


@pytest.mark.django_db(transaction=True, databases="__all__")
class TestThird(ChargeContract):
    step, undo = "payments.charge", "payments.refund"
    lacks: ClassVar = {Case.UNREACHABLE: "A request to this bank does not travel."}
    gateway = ThirdHarness
