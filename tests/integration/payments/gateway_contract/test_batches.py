"""A batch is answered in its order, and one failed request fails no other."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from msgspec.structs import replace

from payments.gateways.base import (
    Absent,
    Captured,
    ChargeBalance,
    Declined,
    Refunded,
    TransactionOpen,
    Unanswered,
    Voided,
)
from tests.integration.payments.gateway_contract.cases import (
    answer_of,
    captured,
    needs,
    refund,
    refund_request,
    request,
)
from tests.integration.payments.gateway_contract.harness import (
    Capability,
    GatewayHarness,
    Method,
    RefundFault,
)

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])


def test_requests_are_answered_in_their_order(harness: GatewayHarness) -> None:
    client = harness.client()
    barred, declined = request(harness), request(harness, Method.DECLINES)
    assert answer_of(client.void, barred) == Voided()
    batch = [request(harness), barred, declined, request(harness), request(harness)]
    unused = request(harness)

    expected = [Captured, Voided, Declined, Captured, Captured]
    assert [type(answer) for answer in client.charge(batch)] == expected
    found = client.find([unused, *batch[::-1]])
    assert [type(answer) for answer in found] == [Absent, *expected[::-1]]
    balances = client.balance([*batch, unused])
    assert [type(answer) for answer in balances] == [
        ChargeBalance,
        Absent,
        Absent,
        ChargeBalance,
        ChargeBalance,
        Absent,
    ]
    taken = [answer for answer in client.charge(batch) if isinstance(answer, Captured)]
    assert [each.charge_id for each in balances if isinstance(each, ChargeBalance)] == [
        each.charge_id for each in taken
    ]


def test_refunds_are_answered_in_their_order(harness: GatewayHarness) -> None:
    made = [captured(harness) for _ in range(3)]
    asked = [refund_request(charge, taken) for charge, taken in made]
    client = harness.client()
    answers = client.refund(asked)
    assert all(isinstance(answer, Refunded) for answer in answers)
    assert client.refund(asked[::-1]) == answers[::-1]


@needs(Capability.LOST_ANSWER)
def test_a_failed_request_does_not_fail_the_batch(harness: GatewayHarness) -> None:
    others = [request(harness) for _ in range(3)]
    failing = request(harness, Method.LOSES_ANSWER)
    client = harness.client()
    answers = client.charge([failing, *others])
    kinds = [type(answer) for answer in answers]
    assert sorted(kind.__name__ for kind in kinds) == ["Captured"] * 3 + ["Unanswered"]
    for charge in (failing, *others):
        assert isinstance(answer_of(client.find, charge), Captured)
        assert harness.moved_money(charge.order_id) == {"capture": 1250}


@needs(Capability.REFUND_LOST_ANSWER)
def test_a_failed_refund_does_not_fail_the_batch(harness: GatewayHarness) -> None:
    failing = captured(
        harness, request(harness, payment_method=harness.arm_refund(RefundFault.LOST_ANSWER))
    )
    made = [failing, *(captured(harness) for _ in range(3))]
    asked = [refund_request(charge, taken) for charge, taken in made]
    answers = harness.client().refund(asked)
    assert sorted(type(answer).__name__ for answer in answers) == [*["Refunded"] * 3, "Unanswered"]
    for charge, taken in made:
        assert isinstance(refund(harness, refund_request(charge, taken)), Refunded)
        assert harness.moved_money(charge.order_id) == {"capture": 1250, "refund": 1250}


def test_a_balance_is_found_by_the_key_and_by_the_charge(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    by_key, by_charge = harness.client().balance(
        [charge, replace(charge, charge_id=taken.charge_id)]
    )
    assert by_key == by_charge == ChargeBalance(charge_id=taken.charge_id, captured=1250)


def test_an_empty_batch_has_no_answers(harness: GatewayHarness) -> None:
    client = harness.client()
    for call in (client.charge, client.authorize, client.capture, client.find, client.void):
        assert call([]) == []
    assert client.refund([]) == []
    assert client.balance([]) == []


def test_no_request_is_sent_inside_a_transaction(harness: GatewayHarness) -> None:
    charge, taken = captured(harness)
    other = request(harness)
    client = harness.client()
    now = datetime.now(UTC)
    for call in (client.charge, client.authorize, client.capture, client.find, client.void):
        with transaction.atomic(using="payments"), pytest.raises(TransactionOpen):
            call([other])
    with transaction.atomic(using="payments"), pytest.raises(TransactionOpen):
        client.balance([charge])
    with transaction.atomic(using="payments"), pytest.raises(TransactionOpen):
        client.refund([refund_request(charge, taken)])
    with transaction.atomic(using="payments"), pytest.raises(TransactionOpen):
        list(client.statement(now - timedelta(hours=1), now))
    assert isinstance(answer_of(client.charge, other), Captured | Unanswered)
    assert harness.moved_money(charge.order_id) == {"capture": 1250}
