"""Authorizations, captures and voids through Stripe's client take effect once, even if a request
or an answer is lost.
"""

from collections.abc import Iterable
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from payments.events import (
    PaymentAuthorized,
    PaymentBarred,
    PaymentFailed,
    PaymentProcessed,
    PaymentVoided,
)
from payments.gateways import get_gateway
from payments.gateways.base import Authorized, Captured, Voided
from sagas.definition.handlers import Outcome, Unknown, Waiting
from tests.integration.payments.harness import Order, external, order, payment, prepare, run
from tests.integration.payments.stripe_harness import confirm, moved_money
from tests.integration.races import at_once
from tests.sandbox.process import Sandbox

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

FAULTS = ["500_lost", "500_done", "reset_lost", "reset_done", "409", "429"]


def intent_of(sandbox: Sandbox, order: Order) -> str:
    (intent,) = sandbox.client.v1.payment_intents.search(
        {"query": f"metadata['order_id']:'{order.saga}'"}
    ).data
    return str(intent.id)


def later_attempt(paid: Order, attempt: int = 2) -> Order:
    """Return the delivery of a later attempt."""
    return order(paid.context.payment_method, saga=paid.saga, attempt=attempt)


def final_outcome(step: str, paid: Order, *, attempts: Iterable[int] = range(2, 8)) -> Outcome:
    """Repeat a step until its outcome is known; return the outcome."""
    for attempt in attempts:
        (outcome,) = run(step, later_attempt(paid, attempt))
        if not isinstance(outcome, Unknown):
            return outcome
    raise AssertionError(f"{step} still has an unknown outcome: {outcome}")


def test_an_authorization_moves_no_money_until_its_capture(sandbox: Sandbox) -> None:
    paid = order()
    (held,) = run("payments.authorize", paid)
    assert isinstance(held, PaymentAuthorized)
    assert held.expires_at is not None
    assert held.expires_at > timezone.now() + timedelta(days=6)
    assert (payment(paid).status, payment(paid).charge_id) == ("authorized", None)
    assert not moved_money(sandbox, paid)
    (taken,) = run("payments.capture", paid)
    assert isinstance(taken, PaymentProcessed)
    assert taken.charge_id == payment(paid).charge_id
    assert payment(paid).status == "captured"
    assert moved_money(sandbox, paid) == {"capture": 1250}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", ["create", "confirm"])
def test_an_authorization_with_a_lost_answer_is_made_once(
    sandbox: Sandbox, operation: str, fault: str
) -> None:
    paid = order()
    sandbox.fault(f"payment_intents.{operation}", fault)
    (first,) = run("payments.authorize", paid)
    assert isinstance(first, Unknown)
    assert isinstance(final_outcome("payments.authorize", paid), PaymentAuthorized)
    assert not moved_money(sandbox, paid)


# While the provider gives no answer for several orders, no attempt counts: each is then the first.
@pytest.mark.parametrize("attempts", [range(2, 8), [1] * 6], ids=["counted", "uncounted"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_capture_with_a_lost_answer_is_made_once(
    sandbox: Sandbox, fault: str, attempts: Iterable[int]
) -> None:
    paid = order()
    run("payments.authorize", paid)
    sandbox.fault("payment_intents.capture", fault)
    (first,) = run("payments.capture", paid)
    assert isinstance(first, Unknown)
    assert payment(paid).status == "authorized"
    outcome = final_outcome("payments.capture", paid, attempts=attempts)
    assert isinstance(outcome, PaymentProcessed)
    assert moved_money(sandbox, paid) == {"capture": 1250}


def test_an_intent_cancelled_at_stripe_is_refused_at_the_capture(sandbox: Sandbox) -> None:
    paid = order()
    run("payments.authorize", paid)
    sandbox.client.v1.payment_intents.cancel(intent_of(sandbox, paid))
    (outcome,) = run("payments.capture", paid)
    assert isinstance(outcome, PaymentFailed)
    assert outcome.code == "authorization_expired"
    assert payment(paid).status == "void"
    (undone,) = run("payments.void", paid)
    assert undone == PaymentBarred(payment_id=payment(paid).id)
    assert not moved_money(sandbox, paid)


def test_a_voided_authorization_can_never_be_captured(sandbox: Sandbox) -> None:
    paid = order()
    run("payments.authorize", paid)
    frozen = prepare("payments.capture", paid)
    (undone,) = run("payments.void", paid)
    assert undone == PaymentVoided(payment_id=payment(paid).id, amount=0, currency="eur")
    assert payment(paid).status == "void"
    assert external("payments.capture").call(frozen) == [Voided()]
    assert not moved_money(sandbox, paid)


def test_a_frozen_worker_cannot_authorize_after_the_void(
    sandbox: Sandbox,
) -> None:
    cancelled = order()
    frozen = prepare("payments.authorize", cancelled)
    run("payments.void", cancelled)
    assert external("payments.authorize").call(frozen) == [Voided()]
    assert not moved_money(sandbox, cancelled)


@pytest.mark.parametrize("fault", ["500_lost", "500_done", "reset_done", "429"])
def test_a_void_with_a_lost_answer_is_completed(sandbox: Sandbox, fault: str) -> None:
    cancelled = order()
    run("payments.authorize", cancelled)
    sandbox.fault("payment_intents.cancel", fault)
    (first,) = run("payments.void", cancelled)
    assert isinstance(first, Unknown)
    assert isinstance(final_outcome("payments.void", cancelled), PaymentVoided)
    assert (
        sandbox.client.v1.payment_intents.retrieve(intent_of(sandbox, cancelled)).status
        == "canceled"
    )


def test_a_manual_capture_is_kept_or_refunded_by_the_undo(
    sandbox: Sandbox,
) -> None:
    kept, undone = order(), order()
    run("payments.authorize", kept, undone)
    for each in (kept, undone):
        sandbox.client.v1.payment_intents.capture(intent_of(sandbox, each))
    assert isinstance(run("payments.capture", kept)[0], PaymentProcessed)
    (back,) = run("payments.void", undone)
    assert back == PaymentVoided(payment_id=payment(undone).id, amount=1250, currency="eur")
    assert moved_money(sandbox, kept) == {"capture": 1250}
    assert moved_money(sandbox, undone) == {"capture": 1250, "refund": 1250}


def test_of_a_concurrent_capture_and_void_only_one_succeeds(sandbox: Sandbox) -> None:
    for _ in range(5):
        paid = order()
        run("payments.authorize", paid)
        (purchase,) = prepare("payments.capture", paid)
        ways = [
            partial(get_gateway().capture, [purchase.charge]),
            partial(get_gateway().void, [purchase.charge]),
        ]
        at_once(ways * 3)
        (verdict,) = get_gateway().find([purchase.charge])
        assert isinstance(verdict, Captured | Voided)
        assert moved_money(sandbox, paid) == (
            {"capture": 1250} if isinstance(verdict, Captured) else {}
        )


def test_a_capture_without_an_authorization_bars_the_charge(sandbox: Sandbox) -> None:
    unknown = order()
    (outcome,) = run("payments.capture", unknown)
    assert isinstance(outcome, PaymentFailed)
    (late,) = run("payments.authorize", unknown)
    assert isinstance(late, PaymentFailed)
    assert not moved_money(sandbox, unknown)


def test_a_customer_confirms_the_authorization_first(sandbox: Sandbox) -> None:
    paid = order("pm_card_threeDSecure2Required")
    (waiting,) = run("payments.authorize", paid)
    assert isinstance(waiting, Waiting)
    assert waiting.notice is not None
    confirm(sandbox, waiting.notice.url)  # type: ignore[attr-defined]
    assert isinstance(run("payments.authorize", paid)[0], PaymentAuthorized)
    assert isinstance(run("payments.capture", paid)[0], PaymentProcessed)
    assert moved_money(sandbox, paid) == {"capture": 1250}


def test_an_authorization_with_an_expired_key_is_captured(sandbox: Sandbox) -> None:
    paid = order()
    run("payments.authorize", paid)
    found = payment(paid)
    found.created_at -= timedelta(hours=30)
    found.save()
    assert isinstance(run("payments.capture", paid)[0], PaymentProcessed)
    assert moved_money(sandbox, paid) == {"capture": 1250}


def test_an_authorized_intent_does_not_complete_a_charge(
    sandbox: Sandbox,
) -> None:
    paid = order()
    run("payments.authorize", paid)
    (outcome,) = run("payments.charge", paid)
    assert isinstance(outcome, Unknown)
    assert isinstance(
        get_gateway().find([prepare("payments.capture", paid)[0].charge])[0], Authorized
    )
