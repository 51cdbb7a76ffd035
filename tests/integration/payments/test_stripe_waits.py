"""A Stripe payment that its customer or a bank decides later shows its page and its deadline."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from payments.gateways import get_gateway
from payments.gateways.base import (
    Absent,
    ActionRequired,
    Captured,
    ChargeRequest,
    Declined,
    Pending,
    RefundRequest,
    Voided,
)
from sagas.ids import uuid7
from tests.integration.payments.stripe_harness import moved_money, time_of
from tests.processes import until
from tests.sandbox.process import Sandbox

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])

A_MINUTE = timedelta(minutes=1)


def request(method: str) -> ChargeRequest:
    order = uuid7()
    return ChargeRequest(f"charge-{order}", order, 1250, "eur", method)


def intent_of(sandbox: Sandbox, charge: ChargeRequest) -> str:
    query = f"metadata['key']:'{charge.key}'"
    (intent,) = sandbox.client.v1.payment_intents.search({"query": query}).data
    return str(intent.id)


@pytest.mark.parametrize(
    ("method", "kind", "days"),
    [
        ("pm_sim_boleto", "boleto", 3),
        ("pm_sim_oxxo", "oxxo", 3),
        ("pm_sim_konbini", "konbini", 3),
        ("pm_sim_multibanco", "multibanco", 7),
        ("pm_sim_pix", "pix", 1),
        ("pm_sim_bank_transfer", "customer_balance", 14),
    ],
)
def test_a_customer_has_a_page_and_a_deadline(
    sandbox: Sandbox, method: str, kind: str, days: int
) -> None:
    charge = request(method)
    (answer,) = get_gateway().charge([charge])
    assert isinstance(answer, ActionRequired)
    assert answer.url.startswith(sandbox.url)
    assert answer.method == kind
    assert answer.expires_at is not None
    left = answer.expires_at - time_of(sandbox)
    assert abs(left - timedelta(days=days)) < timedelta(days=1)
    assert get_gateway().find([charge]) == [answer]
    assert not moved_money(sandbox, charge.order_id)


def test_a_code_without_stripes_deadline_has_a_page(sandbox: Sandbox) -> None:
    (answer,) = get_gateway().charge([request("pm_sim_wechat_pay")])
    assert isinstance(answer, ActionRequired)
    assert (answer.method, answer.expires_at) == ("wechat_pay", None)


@pytest.mark.parametrize(
    ("method", "time"),
    [
        ("pm_sim_sepa_debit", timedelta(days=14)),
        ("pm_sim_us_bank_account", timedelta(days=8)),
        ("pm_sim_processing", timedelta(hours=1)),
    ],
)
def test_a_bank_has_the_time_of_its_payment_method(
    sandbox: Sandbox, method: str, time: timedelta
) -> None:
    charge = request(method)
    (answer,) = get_gateway().charge([charge])
    assert isinstance(answer, Pending)
    assert answer.expected_at is not None
    assert abs(answer.expected_at - time_of(sandbox) - time) < A_MINUTE
    assert get_gateway().find([charge]) == [answer]
    assert get_gateway().balance([charge]) == [Absent()]


def test_a_paid_voucher_is_captured_once(sandbox: Sandbox) -> None:
    charge = request("pm_sim_boleto")
    get_gateway().charge([charge])
    sandbox.control(f"settle/{intent_of(sandbox, charge)}", outcome="succeeded")
    (answer,) = get_gateway().charge([charge])
    assert isinstance(answer, Captured)
    assert answer.amount == 1250
    assert moved_money(sandbox, charge.order_id) == {"capture": 1250}


def test_a_refund_waits_for_the_customers_account_until_stripes_deadline(sandbox: Sandbox) -> None:
    charge = request("pm_sim_konbini")
    get_gateway().charge([charge])
    sandbox.control(f"settle/{intent_of(sandbox, charge)}", outcome="succeeded")
    (captured,) = get_gateway().find([charge])
    assert isinstance(captured, Captured)
    refund = RefundRequest(
        f"refund-{charge.order_id}", charge.order_id, captured.charge_id, 1250, "eur"
    )
    (answer,) = get_gateway().refund([refund])
    assert isinstance(answer, Pending)
    assert "The customer has to give a bank account" in answer.reason
    assert answer.expected_at is not None
    assert abs(answer.expected_at - time_of(sandbox) - timedelta(days=45)) < A_MINUTE


def test_an_unpaid_voucher_is_barred_by_a_void(sandbox: Sandbox) -> None:
    charge = request("pm_sim_boleto")
    get_gateway().charge([charge])
    assert get_gateway().void([charge]) == [Voided()]
    assert get_gateway().charge([charge]) == [Voided()]
    assert not moved_money(sandbox, charge.order_id)


def test_a_late_failure_of_a_debits_refund_is_listed_and_its_success_is_not(
    sandbox: Sandbox,
) -> None:
    """Both lines of such a refund have the type `payment_refund`: its start and its return."""
    now = time_of(sandbox)
    window = (now - timedelta(days=1), now + timedelta(days=1))
    charge = request("pm_sim_sepa_debit")
    get_gateway().charge([charge])
    sandbox.control(f"settle/{intent_of(sandbox, charge)}", outcome="succeeded")
    (paid,) = get_gateway().find([charge])
    assert isinstance(paid, Captured)
    refund = RefundRequest(
        f"refund-{charge.order_id}", charge.order_id, paid.charge_id, 1250, "eur"
    )
    get_gateway().refund([refund])
    (made,) = sandbox.client.v1.refunds.list({"charge": paid.charge_id}).data
    sandbox.control(f"settle/{made.id}", outcome="succeeded")
    assert paid.charge_id not in set(get_gateway().failed_refunds(*window))

    sandbox.control(f"dashboard/refunds/{made.id}/fail")
    assert paid.charge_id in set(get_gateway().failed_refunds(*window))


def test_a_void_waits_for_a_bank_that_is_deciding(sandbox: Sandbox) -> None:
    charge = request("pm_sim_sepa_debit")
    get_gateway().charge([charge])
    (answer,) = get_gateway().void([charge])
    assert isinstance(answer, Pending)
    sandbox.control(f"settle/{intent_of(sandbox, charge)}", outcome="failed")
    (answer,) = get_gateway().void([charge])
    assert isinstance(answer, Declined)
    assert not moved_money(sandbox, charge.order_id)


def test_a_bank_that_refuses_is_not_told_as_a_card(sandbox: Sandbox) -> None:
    charge = request("pm_sim_sepa_debit")
    get_gateway().charge([charge])
    sandbox.control(f"settle/{intent_of(sandbox, charge)}", outcome="failed")
    (answer,) = get_gateway().find([charge])
    assert isinstance(answer, Declined)
    assert "card" not in answer.detail


def test_an_expired_voucher_is_declined_in_its_own_words(sandbox: Sandbox) -> None:
    charge = request("pm_sim_boleto")
    get_gateway().charge([charge])
    sandbox.control("clock", advance=5 * 24 * 3600)
    aged = replace(charge, opened_at=charge.opened_at - timedelta(days=5))
    until(lambda: not is_waiting(aged), "the voucher has expired")
    assert get_gateway().find([aged]) == [
        Declined(
            "payment_intent_payment_attempt_expired",
            "The payment was not made in time.",
            "payment_intent_payment_attempt_expired",
        )
    ]
    assert not moved_money(sandbox, charge.order_id)


def is_waiting(charge: ChargeRequest) -> bool:
    return isinstance(get_gateway().find([charge])[0], ActionRequired)
