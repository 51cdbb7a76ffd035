"""Every call for a payment goes to the gateway that the payment was opened with.

A later change of PAYMENT_GATEWAY does not affect it.
"""

from typing import Any

import pytest
from pytest_django import Settings

from payments import followup
from payments.events import PaymentProcessed, PaymentRefunded, PaymentVoided
from payments.followup import follow_up_once
from payments.models import Drift, Payment
from payments.reconciliation import reconcile
from sagas.definition.handlers import Unknown
from tests.integration.payments.harness import Order, ledger, order, payment, run
from tests.integration.payments.stripe_harness import moved_money, use_stripe
from tests.sandbox.process import Sandbox

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture
def simulated(settings: Settings) -> None:
    settings.PAYMENT_GATEWAY = "simulated"


def charged_before(settings: Settings, sandbox: Sandbox, method: str = "pm_card_visa") -> Order:
    """Charge an order through the simulated gateway, then switch to Stripe."""
    settings.PAYMENT_GATEWAY = "simulated"
    paid = order(method)
    run("payments.charge", paid)
    use_stripe(settings, sandbox)
    return paid


def test_a_payment_stores_its_gateway(sandbox: Sandbox, settings: Settings) -> None:
    before, after = charged_before(settings, sandbox), order()
    run("payments.charge", after)
    assert [payment(each).gateway for each in (before, after)] == ["simulated", "stripe"]


def test_a_refund_goes_to_the_gateway_that_captured_the_money(
    sandbox: Sandbox, settings: Settings
) -> None:
    before, after = charged_before(settings, sandbox), order()
    run("payments.charge", after)
    outcomes = run("payments.refund", before, after)
    assert [type(outcome) for outcome in outcomes] == [PaymentRefunded] * 2
    assert ledger(before) == {"capture": 1250, "refund": 1250}
    assert moved_money(sandbox, after) == {"capture": 1250, "refund": 1250}
    assert not moved_money(sandbox, before)


def test_a_lost_answer_is_looked_up_at_the_gateway_of_the_charge(
    sandbox: Sandbox, settings: Settings
) -> None:
    paid = charged_before(settings, sandbox, "pm_sim_500_charged")
    assert isinstance(run("payments.charge", paid)[0], PaymentProcessed)
    assert ledger(paid) == {"capture": 1250}
    assert not moved_money(sandbox, paid)


def test_an_authorization_is_captured_or_voided_at_its_own_gateway(
    sandbox: Sandbox, settings: Settings
) -> None:
    settings.PAYMENT_GATEWAY = "simulated"
    captured, undone = order(), order()
    run("payments.authorize", captured, undone)
    use_stripe(settings, sandbox)
    assert isinstance(run("payments.capture", captured)[0], PaymentProcessed)
    assert isinstance(run("payments.void", undone)[0], PaymentVoided)
    assert ledger(captured) == {"capture": 1250}
    assert not ledger(undone)


def test_a_follow_up_uses_the_payments_own_gateway(sandbox: Sandbox, settings: Settings) -> None:
    paid = charged_before(settings, sandbox)
    run("payments.refund", paid)
    Payment.objects.update(follow_at=payment(paid).created_at)
    assert follow_up_once() == 1
    assert (payment(paid).follow_at, payment(paid).follow_error) == (None, "")


@pytest.fixture
def owing(sandbox: Sandbox, settings: Settings) -> dict[str, Order]:
    """Return a payment of each gateway that is due for a follow-up."""
    orders = {}
    use_stripe(settings, sandbox)
    for gateway in ("stripe", "simulated"):
        settings.PAYMENT_GATEWAY = gateway
        orders[gateway] = order()
        run("payments.charge", orders[gateway])
    run("payments.refund", *orders.values())
    Payment.objects.update(follow_at=payment(orders["stripe"]).created_at)
    return orders


@pytest.mark.parametrize("silent", ["stripe", "simulated"])
def test_a_follow_up_records_the_answers_of_a_gateway_before_it_asks_a_silent_one(
    owing: dict[str, Order], monkeypatch: pytest.MonkeyPatch, silent: str
) -> None:
    tried = owing.pop(silent)
    (answered,) = owing.values()
    Payment.objects.filter(order_id=tried.saga).update(follow_attempts=4)
    ask = followup._ask
    due_at: list[bool] = []

    def ask_and_look(*args: Any) -> Any:
        due_at.append(payment(answered).follow_at is not None)
        return ask(*args)

    monkeypatch.setattr(followup, "_ask", ask_and_look)
    assert follow_up_once() == 2
    assert due_at == [True, False]


@pytest.mark.parametrize("broken", ["stripe", "simulated"])
def test_an_error_of_one_gateways_answers_does_not_stop_the_follow_up_of_the_others(
    owing: dict[str, Order], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    record = followup._record

    def fail_for_one(findings: Any, claims: Any) -> None:
        if findings[0].payment.gateway == broken:
            raise KeyError("an answer of another kind")
        record(findings, claims)

    monkeypatch.setattr(followup, "_record", fail_for_one)
    with pytest.raises(KeyError):
        follow_up_once()
    late = owing.pop(broken)
    (done,) = owing.values()
    assert payment(done).follow_at is None
    assert payment(late).follow_at is not None


def test_a_missing_gateway_leaves_the_outcome_unknown(simulated: None) -> None:
    paid = order()
    run("payments.charge", paid)
    Payment.objects.update(gateway="piggy-bank")
    (outcome,) = run("payments.refund", order(saga=paid.saga))
    assert outcome == Unknown(
        "The payment was opened with gateway 'piggy-bank', which this release does not have. "
        "Deploy a release that has it."
    )
    assert ledger(paid) == {"capture": 1250}


def test_a_payment_without_a_gateway_uses_the_configured_gateway(
    simulated: None,
) -> None:
    paid = order()
    run("payments.charge", paid)
    Payment.objects.update(gateway="")
    assert isinstance(run("payments.refund", paid)[0], PaymentRefunded)
    assert ledger(paid) == {"capture": 1250, "refund": 1250}


def test_reconciliation_looks_up_a_payment_at_its_own_gateway(
    sandbox: Sandbox, settings: Settings
) -> None:
    paid = charged_before(settings, sandbox)
    at = payment(paid).created_at
    result = reconcile(at.replace(hour=0, minute=0), at.replace(year=at.year + 1))
    assert result.gateways == ("simulated", "stripe")
    assert not Drift.objects.filter(order_id=paid.saga).exists()
