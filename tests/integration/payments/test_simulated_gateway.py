"""The simulated gateway handles each key once, and refunds each charge at most once."""

from functools import partial

import pytest

from payments.gateways import get_gateway
from payments.gateways.base import (
    Absent,
    Captured,
    ChargeRequest,
    Declined,
    Refunded,
    RefundRequest,
    Voided,
)
from payments.gateways.simulated.ledger import SimulatedCharge
from sagas.ids import uuid7
from tests.integration.payments.harness import ledger
from tests.integration.races import at_once

pytestmark = pytest.mark.django_db(transaction=True, databases=["payments"])


def request(method: str = "pm_card_visa") -> ChargeRequest:
    order = uuid7()
    return ChargeRequest(f"charge-{order}", order, 900, "eur", method)


def captured(method: str = "pm_card_visa") -> tuple[ChargeRequest, Captured]:
    charge = request(method)
    (answer,) = get_gateway().charge([charge])
    assert isinstance(answer, Captured)
    return charge, answer


def test_of_a_concurrent_charge_and_void_only_one_succeeds() -> None:
    gateway = get_gateway()
    for _ in range(20):
        charge = request()
        answers = at_once([partial(gateway.charge, [charge]), partial(gateway.void, [charge])] * 4)
        (verdict,) = {type(answer) for (answer,) in answers}
        assert ledger(charge.order_id) == ({"capture": 900} if verdict is Captured else {})
        assert verdict in {Captured, Voided}


def test_concurrent_charges_with_one_key_make_one_charge() -> None:
    charge = request()
    answers = at_once([partial(get_gateway().charge, [charge])] * 12)
    assert len({answer.charge_id for (answer,) in answers if isinstance(answer, Captured)}) == 1
    assert ledger(charge.order_id) == {"capture": 900}


def test_batches_that_share_keys_do_not_deadlock() -> None:
    charges = [request() for _ in range(40)]
    gateway = get_gateway()
    calls = [
        partial(method, batch)
        for method in (gateway.charge, gateway.void)
        for batch in (charges, charges[::-1])
    ]
    at_once(calls * 3)
    answers = {type(answer) for answer in gateway.find(charges)}
    assert answers <= {Captured, Voided}


def test_find_changes_nothing() -> None:
    charge = request()
    assert get_gateway().find([charge]) == [Absent()]
    assert isinstance(get_gateway().charge([charge])[0], Captured)
    assert isinstance(get_gateway().find([charge])[0], Captured)


def test_a_void_changes_no_captured_or_declined_charge() -> None:
    charge, answer = captured()
    declined = request("pm_card_chargeDeclined")
    get_gateway().charge([declined])
    late = get_gateway().void([charge, declined])
    assert late[0] == answer
    assert isinstance(late[1], Declined)


def test_concurrent_refunds_with_one_key_refund_once() -> None:
    charge, answer = captured()
    refund = RefundRequest("refund-1", charge.order_id, answer.charge_id, 900, "eur")
    answers = at_once([partial(get_gateway().refund, [refund])] * 12)
    assert answers == [[Refunded("re_refund-1", 900)]] * 12
    assert ledger(charge.order_id) == {"capture": 900, "refund": 900}


def test_refunds_under_several_keys_give_back_each_part_once() -> None:
    charge, answer = captured()
    totals = [400] * 8 + [900]
    refunds = [
        RefundRequest(f"refund-{n}", charge.order_id, answer.charge_id, total, "eur")
        for n, total in enumerate(totals)
    ]
    answers = at_once([partial(get_gateway().refund, [refund]) for refund in refunds])
    assert {type(answer) for (answer,) in answers} == {Refunded}
    assert ledger(charge.order_id) == {"capture": 900, "refund": 900}


def test_two_refunds_of_one_charge_in_one_batch_are_checked_together() -> None:
    charge, answer = captured()
    refunds = [
        RefundRequest(f"refund-{n}", charge.order_id, answer.charge_id, total, "eur")
        for n, total in enumerate([600, 700])
    ]
    assert get_gateway().refund(refunds) == [
        Refunded("re_refund-0", 600),
        Refunded("re_refund-1", 700),
    ]
    assert ledger(charge.order_id) == {"capture": 900, "refund": 700}


def test_an_uncaptured_charge_cannot_be_refunded() -> None:
    (answer,) = get_gateway().refund([RefundRequest("refund-1", uuid7(), "ch_unknown", 1, "eur")])
    assert isinstance(answer, Declined)
    assert not SimulatedCharge.objects.exists()


def test_two_keys_can_charge_one_order_twice() -> None:
    charge = request()
    other = ChargeRequest(
        "another key", *[getattr(charge, field) for field in charge.__struct_fields__[1:]]
    )
    get_gateway().charge([charge, other])
    assert ledger(charge.order_id) == {"capture": 1800}
