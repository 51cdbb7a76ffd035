"""With Stripe, the audit uses Stripe's statement as the ledger, and finds unknown charges."""

import io
from collections.abc import Iterator
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from audit.run import audit
from payments.gateways import get_gateway
from payments.gateways.base import ChargeRequest
from payments.models import Payment, SimulatedCharge
from sagas.ids import uuid7
from tests.integration.audit import harness
from tests.sandbox.process import Sandbox, running

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture
def sandbox_process() -> Iterator[Sandbox]:
    """Run a sandbox for each test, because the audit checks all of its charges."""
    with running("--settle-seconds", "3600") as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def _orders(sandbox: Sandbox) -> None:
    harness.open_shop()
    placed = [
        harness.place(),
        harness.place("VASE"),
        harness.place(method="pm_card_chargeDeclined"),
        harness.place("MUG", "PLATE"),
    ]
    harness.run_to_end(*placed)


def found() -> set[tuple[str, str]]:
    report = audit(expect_ended=True)
    return {
        (verdict.invariant.id, violation.detail)
        for verdict in report.verdicts
        for violation in verdict.shown
    }


def test_equal_ledgers_have_no_violation_and_stripe_is_queried() -> None:
    report = audit(expect_ended=True)
    assert report.violations == 0
    assert not any(verdict.note for verdict in report.verdicts)


def test_a_charge_without_an_order_is_found() -> None:
    unknown_order = uuid7()
    get_gateway().charge([ChargeRequest("outside", unknown_order, 700, "eur", "pm_card_visa")])
    assert found() == {
        ("I5", "the gateway's ledger has money of it, but there is no such order"),
        ("I4", "700 too much kept"),
    }


def test_a_second_charge_of_an_order_is_found() -> None:
    paid = Payment.objects.filter(status="captured").first()
    assert paid is not None
    get_gateway().charge(
        [ChargeRequest("twice", paid.order_id, paid.amount, "eur", "pm_card_visa")]
    )
    assert {"I3", "I4", "I5", "I10"} == {invariant for invariant, _ in found()}


def test_a_payment_unknown_to_stripe_is_found() -> None:
    Payment.objects.filter(status="captured").update(charge_id=None, status="void")
    assert {invariant for invariant, _ in found()} >= {"I5"}


def test_without_a_statement_the_audit_exits_with_2_or_uses_payments_alone(
    settings: Settings,
) -> None:
    settings.STRIPE_API_KEY = "sk_test_of_somebody_else"
    with pytest.raises(CommandError) as error:
        call_command("audit")
    assert error.value.returncode == 2
    output = io.StringIO()
    call_command("audit", no_gateway=True, stdout=output)
    assert "from our payments only" in output.getvalue()


def test_orders_paid_through_an_earlier_gateway_are_looked_up_there(
    settings: Settings,
) -> None:
    settings.PAYMENT_GATEWAY = "simulated"
    before = harness.place()
    harness.run_to_end(before)
    assert found() == set()
    settings.PAYMENT_GATEWAY = "stripe"
    after = harness.place()
    harness.run_to_end(after)
    assert set(
        Payment.objects.filter(order_id__in=(before, after)).values_list("gateway", flat=True)
    ) == {
        "simulated",
        "stripe",
    }
    assert found() == set()
    SimulatedCharge.objects.filter(order_id=before).delete()
    assert ("I5", before) in {
        (verdict.invariant.id, UUID(violation.subject))
        for verdict in audit().verdicts
        for violation in verdict.shown
        if verdict.invariant.id == "I5"
    }
