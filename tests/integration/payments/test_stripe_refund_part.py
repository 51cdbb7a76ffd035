"""A part is given back through Stripe under keys that follow each other strictly."""

import pytest
import stripe
from msgspec.structs import replace

from payments.events import PaymentPartlyRefunded
from payments.gateways.base import Declined, PartSoFar
from payments.gateways.stripe import StripeGateway
from payments.gateways.stripe.account import Account
from payments.partial_refunds import request_of
from sagas.definition.handlers import Retry, Unknown
from tests.integration.payments import harness
from tests.integration.payments.harness import Order, order, payment
from tests.integration.payments.part_harness import Part, paid, part_of, row, run_parts
from tests.integration.payments.stripe_harness import moved_money
from tests.sandbox.process import Sandbox

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])


def refunds_of(bought: Order) -> list[stripe.Refund]:
    return Account(StripeGateway().until).refunds_of(str(payment(bought).charge_id))


def fail_newest(sandbox: Sandbox, bought: Order) -> None:
    """Let the bank return the newest refund of an order."""
    sandbox.control(f"dashboard/refunds/{refunds_of(bought)[0].id}/fail")


def given_back(part: Part, amount: int) -> bool:
    (outcome,) = run_parts(part)
    return isinstance(outcome, PaymentPartlyRefunded) and outcome.amount == amount


def test_a_key_that_keeps_an_error_is_followed_by_the_next_one(sandbox: Sandbox) -> None:
    bought = paid()
    part = part_of(bought, 300)
    sandbox.fault("refunds.create", "500_saved")
    (lost,) = run_parts(part)
    assert isinstance(lost, Unknown)
    assert row(part).key_number == 1

    (repeated,) = run_parts(part)
    assert isinstance(repeated, Unknown)
    assert "under its next key" in repeated.reason
    assert row(part).key_number == 2
    assert moved_money(sandbox, bought) == {"capture": 1250}
    assert given_back(part, 300)
    assert moved_money(sandbox, bought) == {"capture": 1250, "refund": 300}


@pytest.mark.parametrize(
    "fault", ["500_lost", "500_done", "reset_lost", "reset_done", "409", "429"]
)
@pytest.mark.parametrize("operation", ["create", "list"])
def test_a_part_with_a_lost_answer_is_given_back_once(
    sandbox: Sandbox, operation: str, fault: str
) -> None:
    bought = paid()
    part = part_of(bought, 300)
    sandbox.fault(f"refunds.{operation}", fault)
    (lost,) = run_parts(part)
    assert isinstance(lost, Unknown)
    assert given_back(part, 300)
    assert moved_money(sandbox, bought) == {"capture": 1250, "refund": 300}


def test_a_part_that_fails_again_is_tried_after_a_pause(sandbox: Sandbox) -> None:
    bought = paid()
    part = part_of(bought, 300)
    for _ in range(2):
        assert given_back(part, 300)
        fail_newest(sandbox, bought)
    (paused,) = run_parts(part)
    assert isinstance(paused, Retry)
    assert "Another refund is tried after" in paused.reason
    assert len(refunds_of(bought)) == 2


def test_a_part_that_fails_again_tells_what_is_back(sandbox: Sandbox) -> None:
    bought = paid()
    sandbox.control("dashboard/refunds", charge=payment(bought).charge_id, amount=250)
    part = part_of(bought, 1250)
    for _ in range(2):
        assert given_back(part, 1000)
        fail_newest(sandbox, bought)
    request = request_of(row(part), payment(bought))
    (answer,) = StripeGateway().refund_part([request])
    assert isinstance(answer, Declined)
    assert answer.part == PartSoFar(given_back=0, covered=250)


def test_an_amount_that_stripe_does_not_have_needs_a_person(sandbox: Sandbox) -> None:
    bought = order(amount=12_340)
    bought = replace(bought, context=replace(bought.context, currency="kwd"))
    harness.run("payments.charge", bought)
    (declined,) = run_parts(part_of(bought, 1_235, "kwd"))
    assert isinstance(declined, Retry)
    assert "has no such amount" in declined.reason
    assert given_back(part_of(bought, 1_230, "kwd"), 1_230)
