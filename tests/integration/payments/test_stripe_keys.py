"""A charge whose idempotency key Stripe has forgotten is found, made once, or barred."""

from datetime import timedelta
from functools import partial

import pytest
from msgspec.structs import replace

from payments.gateways import get_gateway
from payments.gateways.base import (
    Absent,
    Captured,
    ChargeRequest,
    Unanswered,
    Voided,
)
from sagas.ids import uuid7
from tests.integration.payments.stripe_harness import forget_keys, moved_money
from tests.integration.races import at_once
from tests.sandbox.process import Sandbox

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])


def request(method: str = "pm_card_visa") -> ChargeRequest:
    order_id = uuid7()
    return ChargeRequest(f"charge-{order_id}", order_id, 900, "eur", method)


def aged(charge: ChargeRequest, hours: float) -> ChargeRequest:
    """Return the request of a saga that started some hours earlier."""
    return replace(charge, opened_at=charge.opened_at - timedelta(hours=hours))


def test_a_restored_database_charges_nothing_again(sandbox: Sandbox) -> None:
    charges = [request(), request("pm_card_chargeDeclined"), request()]
    paid, refused, _ = get_gateway().charge(charges[:2]) + get_gateway().void(charges[2:])
    before = sandbox.ledger()
    forget_keys(sandbox)
    again = [aged(charge, hours=25) for charge in charges]
    for method in (get_gateway().charge, get_gateway().find, get_gateway().void):
        assert method(again) == [paid, refused, Voided()]
    assert sandbox.ledger() == before


def test_an_order_that_was_on_hold_for_days_is_charged_once(sandbox: Sandbox) -> None:
    charge = aged(request(), hours=100)
    assert get_gateway().find([charge]) == [Absent()]
    (first,) = get_gateway().charge([charge])
    assert isinstance(first, Captured)
    assert get_gateway().charge([charge]) == [first]
    assert moved_money(sandbox, charge.order_id) == {"capture": 900}


def test_an_old_saga_is_charged_once_although_the_search_lags(sandbox: Sandbox) -> None:
    charge = aged(request(), hours=100)
    sandbox.fault("payment_intents.search", "stale", seconds=3600, times=None)
    answers = at_once([partial(get_gateway().charge, [charge]) for _ in range(4)])
    assert any(isinstance(answer, Captured) for (answer,) in answers)
    assert isinstance(get_gateway().find([charge])[0], Captured)
    assert moved_money(sandbox, charge.order_id) == {"capture": 900}


def test_a_void_of_a_forgotten_key_bars_the_charge(sandbox: Sandbox) -> None:
    charge = aged(request(), hours=25)
    get_gateway().find([charge])
    forget_keys(sandbox)
    assert get_gateway().void([charge]) == [Voided()]
    forget_keys(sandbox)
    assert get_gateway().charge([charge]) == [Voided()]
    assert not moved_money(sandbox, charge.order_id)


def test_the_charge_of_a_young_saga_needs_no_search(sandbox: Sandbox) -> None:
    sandbox.fault("payment_intents.search", "500_lost", times=None)
    charge = aged(request(), hours=19)
    assert isinstance(get_gateway().charge([charge])[0], Captured)
    assert isinstance(get_gateway().find([charge])[0], Captured)
    old = aged(request(), hours=21)
    assert isinstance(get_gateway().charge([old])[0], Unanswered)
    assert not moved_money(sandbox, old.order_id)
