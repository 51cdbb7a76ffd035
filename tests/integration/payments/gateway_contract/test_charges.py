"""A gateway acts once for each key of a charge, and a barred key is never charged."""

from functools import partial

import pytest

from payments.gateways.base import (
    Absent,
    ActionRequired,
    Authorized,
    Captured,
    Declined,
    Pending,
    Unanswered,
    Voided,
)
from tests.integration.payments.gateway_contract.cases import (
    answer_of,
    authorized,
    balance_of,
    captured,
    needs,
    request,
)
from tests.integration.payments.gateway_contract.harness import (
    Capability,
    GatewayHarness,
    Method,
)
from tests.integration.races import at_once

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])


def test_a_key_is_charged_once(harness: GatewayHarness) -> None:
    charge, first = captured(harness)
    assert first.amount == 1250
    assert answer_of(harness.client().charge, charge) == first
    assert answer_of(harness.client().find, charge) == first
    assert harness.moved_money(charge.order_id) == {"capture": 1250}


def test_concurrent_requests_charge_a_key_once(harness: GatewayHarness) -> None:
    charge = request(harness)
    answers = at_once([partial(harness.client().charge, [charge])] * 6)
    assert {type(answer) for (answer,) in answers} <= {Captured, Unanswered}
    assert isinstance(answer_of(harness.client().charge, charge), Captured)
    assert harness.moved_money(charge.order_id) == {"capture": 1250}


def test_a_race_between_charge_and_void_has_one_winner(harness: GatewayHarness) -> None:
    for _ in range(5):
        charge = request(harness)
        client = harness.client()
        calls = [partial(client.charge, [charge]), partial(client.void, [charge])] * 2
        seen = {type(answer) for (answer,) in at_once(calls)} - {Unanswered}
        verdict = answer_of(harness.client().find, charge)
        assert isinstance(verdict, Captured | Voided)
        assert seen <= {type(verdict)}
        expected = {"capture": 1250} if isinstance(verdict, Captured) else {}
        assert harness.moved_money(charge.order_id) == expected


def test_a_decline_is_final(harness: GatewayHarness) -> None:
    charge = request(harness, Method.DECLINES)
    client = harness.client()
    first = answer_of(client.charge, charge)
    assert isinstance(first, Declined)
    assert first.detail
    for call in (client.charge, client.find, client.void):
        assert isinstance(answer_of(call, charge), Declined)
    assert client.balance([charge]) == [Absent()]
    assert harness.moved_money(charge.order_id) == {}


def test_a_void_bars_an_unused_key_for_ever(harness: GatewayHarness) -> None:
    charge = request(harness)
    client = harness.client()
    assert answer_of(client.void, charge) == Voided()
    for call in (client.charge, client.authorize, client.capture, client.find, client.void):
        assert answer_of(call, charge) == Voided()
    assert harness.moved_money(charge.order_id) == {}


def test_a_void_leaves_a_captured_charge(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    assert answer_of(harness.client().void, charge) == taken
    assert harness.moved_money(charge.order_id) == {"capture": 1250}


def test_find_and_balance_move_no_money_and_bar_no_key(harness: GatewayHarness) -> None:
    charge = request(harness)
    client = harness.client()
    assert client.find([charge]) == [Absent()]
    assert client.balance([charge]) == [Absent()]
    assert harness.moved_money(charge.order_id) == {}
    assert isinstance(answer_of(client.charge, charge), Captured)


def test_an_authorization_moves_no_money_and_is_captured_once(harness: GatewayHarness) -> None:
    charge = authorized(harness)
    client = harness.client()
    assert isinstance(answer_of(client.find, charge), Authorized)
    assert client.balance([charge]) == [Absent()]
    assert harness.moved_money(charge.order_id) == {}

    at_once([partial(client.capture, [charge])] * 4)
    taken = answer_of(client.capture, charge)
    assert isinstance(taken, Captured)
    assert taken.amount == 1250
    assert answer_of(client.find, charge) == taken
    assert harness.moved_money(charge.order_id) == {"capture": 1250}


def test_a_race_between_capture_and_void_has_one_winner(harness: GatewayHarness) -> None:
    for _ in range(5):
        charge = authorized(harness)
        client = harness.client()
        at_once([partial(client.capture, [charge]), partial(client.void, [charge])])
        verdict = answer_of(client.find, charge)
        assert isinstance(verdict, Captured | Voided)
        expected = {"capture": 1250} if isinstance(verdict, Captured) else {}
        assert harness.moved_money(charge.order_id) == expected


def test_a_void_releases_an_authorization(harness: GatewayHarness) -> None:
    charge = authorized(harness)
    client = harness.client()
    for call in (client.void, client.capture, client.charge, client.find):
        assert answer_of(call, charge) == Voided()
    assert harness.moved_money(charge.order_id) == {}


def test_a_capture_bars_a_key_that_was_not_authorized(harness: GatewayHarness) -> None:
    charge = request(harness)
    client = harness.client()
    for call in (client.capture, client.authorize, client.charge):
        assert answer_of(call, charge) == Voided()
    assert harness.moved_money(charge.order_id) == {}


@needs(Capability.AUTHORIZATION_LAPSES)
def test_an_expired_authorization_is_not_captured(harness: GatewayHarness) -> None:
    charge = authorized(harness)
    harness.lapse_authorization(charge)
    assert isinstance(answer_of(harness.client().capture, charge), Voided | Declined)
    assert harness.moved_money(charge.order_id) == {}


@needs(Capability.LOST_ANSWER)
def test_a_charge_with_a_lost_answer_is_found(harness: GatewayHarness) -> None:
    charge = request(harness, Method.LOSES_ANSWER)
    client = harness.client()
    (lost,) = client.charge([charge])
    assert isinstance(lost, Unanswered)
    found = answer_of(client.find, charge)
    assert isinstance(found, Captured)
    assert answer_of(client.charge, charge) == found
    assert harness.moved_money(charge.order_id) == {"capture": 1250}


@needs(Capability.LOST_REQUEST)
def test_a_lost_charge_is_charged_by_the_next_request(harness: GatewayHarness) -> None:
    charge = request(harness, Method.LOSES_REQUEST)
    client = harness.client()
    (lost,) = client.charge([charge])
    assert isinstance(lost, Unanswered)
    assert answer_of(client.find, charge) == Absent()
    assert isinstance(answer_of(client.charge, charge), Captured)
    assert harness.moved_money(charge.order_id) == {"capture": 1250}


@needs(Capability.LOST_REQUEST)
def test_a_lost_charge_can_be_barred(harness: GatewayHarness) -> None:
    charge = request(harness, Method.LOSES_REQUEST)
    client = harness.client()
    client.charge([charge])
    assert answer_of(client.void, charge) == Voided()
    assert answer_of(client.charge, charge) == Voided()
    assert harness.moved_money(charge.order_id) == {}


@needs(Capability.SAVED_ERROR)
@pytest.mark.parametrize("pays", [True, False])
def test_a_charge_behind_a_saved_error_is_made_or_barred_once(
    harness: GatewayHarness, *, pays: bool
) -> None:
    charge = request(harness, Method.SAVES_ERROR)
    client = harness.client()
    (failed,) = client.charge([charge])
    assert isinstance(failed, Unanswered)
    if pays:
        at_once([partial(client.charge, [charge])] * 3)
    else:
        assert answer_of(client.void, charge) == Voided()
    assert isinstance(answer_of(client.charge, charge), Captured if pays else Voided)
    assert harness.moved_money(charge.order_id) == ({"capture": 1250} if pays else {})


@needs(Capability.SAVED_500)
def test_a_charge_behind_a_saved_500_is_found(harness: GatewayHarness) -> None:
    charge = request(harness, Method.ANSWERS_500)
    client = harness.client()
    (failed,) = client.charge([charge])
    assert isinstance(failed, Unanswered)
    assert isinstance(answer_of(client.find, charge), Captured)
    assert harness.moved_money(charge.order_id) == {"capture": 1250}


@needs(Capability.CUSTOMER_ACTION)
@pytest.mark.parametrize("consent", [True, False])
def test_a_charge_waits_for_its_customer(harness: GatewayHarness, *, consent: bool) -> None:
    charge = request(harness, Method.NEEDS_CUSTOMER)
    client = harness.client()
    action = answer_of(client.charge, charge)
    assert isinstance(action, ActionRequired)
    assert action.url.startswith("http")
    assert isinstance(answer_of(client.find, charge), ActionRequired)
    assert harness.moved_money(charge.order_id) == {}

    harness.answer_customer(action, consent=consent)
    verdict = answer_of(client.find, charge)
    assert isinstance(verdict, Captured if consent else Declined)
    assert harness.moved_money(charge.order_id) == ({"capture": 1250} if consent else {})


@needs(Capability.CUSTOMER_ACTION)
def test_a_barred_charge_cannot_be_confirmed(harness: GatewayHarness) -> None:
    charge = request(harness, Method.NEEDS_CUSTOMER)
    client = harness.client()
    assert isinstance(answer_of(client.charge, charge), ActionRequired)
    assert answer_of(client.void, charge) == Voided()
    assert answer_of(client.charge, charge) == Voided()
    assert harness.moved_money(charge.order_id) == {}


@needs(Capability.PROCESSING)
@pytest.mark.parametrize("succeeds", [True, False])
def test_a_charge_is_pending_until_the_bank_decides(
    harness: GatewayHarness, *, succeeds: bool
) -> None:
    charge = request(harness, Method.PROCESSES)
    client = harness.client()
    waiting = answer_of(client.charge, charge)
    assert isinstance(waiting, Pending)
    assert waiting.expected_at is not None
    assert isinstance(answer_of(client.find, charge), Pending)
    harness.settle_charge(charge, succeeds=succeeds)
    verdict = answer_of(client.find, charge)
    assert isinstance(verdict, Captured if succeeds else Declined)
    assert harness.moved_money(charge.order_id) == ({"capture": 1250} if succeeds else {})


@needs(Capability.CAPTURE_BY_HAND)
def test_a_capture_of_part_by_hand_tells_the_true_amount(harness: GatewayHarness) -> None:
    charge = authorized(harness)
    harness.capture_by_hand(charge, 500)
    client = harness.client()
    for call in (client.capture, client.find, client.void, client.charge):
        answer = answer_of(call, charge)
        assert isinstance(answer, Captured)
        assert answer.amount == 500
    assert balance_of(harness, charge).captured == 500
    assert harness.moved_money(charge.order_id) == {"capture": 500}


@needs(Capability.OLD_KEYS)
def test_a_forgotten_key_makes_no_second_charge(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    old = harness.make_old(charge)
    for call in (harness.client().charge, harness.client().find, harness.client().void):
        assert answer_of(call, old) == taken
    assert harness.moved_money(charge.order_id) == {"capture": 1250}


@needs(Capability.OLD_KEYS)
def test_a_forgotten_key_stays_barred(harness: GatewayHarness) -> None:
    charge = request(harness)
    assert answer_of(harness.client().void, charge) == Voided()
    assert answer_of(harness.client().charge, harness.make_old(charge)) == Voided()
    assert harness.moved_money(charge.order_id) == {}


@needs(Capability.OLD_KEYS)
def test_an_unused_old_key_is_charged_once(harness: GatewayHarness) -> None:
    charge = harness.make_old(request(harness))
    at_once([partial(harness.client().charge, [charge])] * 4)
    assert isinstance(answer_of(harness.client().charge, charge), Captured)
    assert harness.moved_money(charge.order_id) == {"capture": 1250}
