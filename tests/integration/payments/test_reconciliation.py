"""Reconciliation compares the gateway's statement with the payments, in both directions.

A difference stays open until a person closes it.
"""

import io
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client
from msgspec.structs import replace
from pytest_django import Settings

from payments.events import PaymentPartlyRefunded
from payments.followup import follow_up_once
from payments.gateway_requests import charge_request
from payments.gateways import get_gateway
from payments.gateways.base import ChargeBalance, ChargeRequest, RefundRequest
from payments.gateways.stripe.account import Account
from payments.models import Drift, PartialRefund, Payment, Reconciliation, SimulatedCharge
from payments.reconciliation import next_window, reconcile
from payments.steps import refunded_by_hand
from payments.tasks import reconcile_payments
from sagas.definition.handlers import ManualConfirmation
from sagas.ids import uuid7
from tests.integration.payments.harness import Order, order, payment, prepare, run
from tests.integration.payments.part_harness import part_of, run_parts

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])

DAY = timedelta(days=1)
BY_TRANSFER = ManualConfirmation(by="olga", evidence="A bank transfer.", reference="transfer 7")


@pytest.fixture(params=["simulated", "stripe"])
def gateway(request: pytest.FixtureRequest) -> str:
    """Run the test with the simulated gateway and with Stripe's client at the sandbox."""
    UNKNOWN_ORDERS.clear()
    if request.param == "stripe":
        request.getfixturevalue("sandbox")
    return str(request.param)


def charged(method: str = "pm_card_visa") -> Order:
    paid = order(method)
    run("payments.charge", paid)
    return paid


def compared() -> list[tuple[str, Any, int, int]]:
    """Compare a day around now; return the open discrepancies of this test."""
    now = datetime.now(UTC)
    own_orders = set(Payment.objects.values_list("order_id", flat=True)) | UNKNOWN_ORDERS
    discrepancies = reconcile(now - DAY, now + DAY).open
    return sorted(
        (drift.kind, drift.order_id, drift.ours, drift.theirs)
        for drift in discrepancies
        if drift.order_id in own_orders
    )


# Orders of this test without a payment. They are listed because the sandbox also keeps the charges
# of other tests.
UNKNOWN_ORDERS: set[UUID] = set()


def given_back(paid: Order) -> int:
    """Return what the gateway has given back of an order's charge, in minor units."""
    (balance,) = get_gateway().balance([charge_request(payment(paid))])
    assert isinstance(balance, ChargeBalance)
    return balance.refunded


def charge_outside(**fields: Any) -> ChargeRequest:
    """Charge an order at the gateway without a payment."""
    order_id = uuid7()
    default = ChargeRequest(f"outside {order_id}", order_id, 700, "eur", "pm_card_visa")
    request = replace(default, **fields)
    UNKNOWN_ORDERS.add(request.order_id)
    get_gateway().charge([request])
    return request


def test_equal_ledgers_have_no_discrepancy(gateway: str) -> None:
    charged()
    charged("pm_card_chargeDeclined")
    run("payments.refund", charged())
    run("payments.refund", order())
    prepare("payments.charge", order())
    assert compared() == []
    assert Reconciliation.objects.get().drifts == len(Drift.objects.all())


def test_a_known_refund_of_a_part_is_no_discrepancy_and_an_unknown_one_is(gateway: str) -> None:
    bought = charged("pm_card_visa" if gateway == "stripe" else "pm_sim_refund_error_once")
    part = part_of(bought, 300)
    while not isinstance(run_parts(part)[0], PaymentPartlyRefunded):
        continue
    assert compared() == []
    PartialRefund.objects.all().delete()
    assert compared() == [("refunded_outside", bought.saga, 300, 300)]


def test_a_charge_of_an_unknown_order_is_found(gateway: str) -> None:
    unknown = charge_outside()
    assert compared() == [("charged_unknown", unknown.order_id, 0, 700)]


def test_a_charge_of_a_void_payment_is_found_and_refunded(gateway: str) -> None:
    cancelled = order(amount=700)
    (purchase,) = prepare("payments.charge", cancelled)
    Payment.objects.filter(order_id=cancelled.saga).update(status="void")
    get_gateway().charge([purchase.charge])
    assert compared() == [("charged_unknown", cancelled.saga, 0, 700)]
    assert follow_up_once() == 1
    assert (payment(cancelled).status, payment(cancelled).refunded_amount) == ("refunded", 700)


def test_a_second_charge_of_one_order_is_found(gateway: str) -> None:
    paid = charged()
    charge_outside(order_id=paid.saga)
    assert compared() == [("charged_unknown", paid.saga, 0, 700)]


def test_a_payment_without_a_charge_at_the_gateway_is_found(gateway: str) -> None:
    never = order()
    prepare("payments.charge", never)
    Payment.objects.filter(order_id=never.saga).update(
        status="captured", charge_id=f"ch_{uuid7().hex}"
    )
    assert compared() == [("uncharged", never.saga, 1250, 0)]


def opened_days_ago(paid: Order) -> None:
    """Let the gateway have the charge, or its authorization, in an earlier window."""
    Payment.objects.filter(order_id=paid.saga).update(created_at=datetime.now(UTC) - 3 * DAY)
    SimulatedCharge.objects.filter(order_id=paid.saga).update(
        created_at=datetime.now(UTC) - 3 * DAY
    )


def test_an_authorization_captured_days_later_is_looked_up(gateway: str) -> None:
    unknown, other, equal = order(), charged(), charged()
    prepare("payments.charge", unknown)
    Payment.objects.filter(order_id=unknown.saga).update(
        status="captured", charge_id=f"ch_{uuid7().hex}"
    )
    Payment.objects.filter(order_id=other.saga).update(captured_amount=500)
    for each in (unknown, other, equal):
        opened_days_ago(each)
    found = compared()
    assert ("uncharged", unknown.saga, 1250, 0) in found
    assert ("amount", other.saga, 500, 1250) in found
    assert len(found) == 2


def test_a_different_amount_is_found(gateway: str) -> None:
    paid = charged()
    Payment.objects.filter(order_id=paid.saga).update(captured_amount=9999)
    assert compared() == [("amount", paid.saga, 9999, 1250)]


def test_a_refund_made_outside_is_found(gateway: str) -> None:
    paid = charged()
    get_gateway().refund(
        [
            RefundRequest(
                f"outside {paid.saga}", paid.saga, str(payment(paid).charge_id), 1250, "eur"
            )
        ]
    )
    assert compared() == [("refunded_outside", paid.saga, 0, 1250)]


def refund_by_hand(gateway: str, paid: Order, amount: int) -> None:
    """Refund a part of a charge at the gateway, as a person does there."""
    charge = str(payment(paid).charge_id)
    if gateway == "stripe":
        Account(math.inf).client.v1.refunds.create({"charge": charge, "amount": amount})
        return
    SimulatedCharge.objects.create(
        kind="refund",
        key=f"by hand {uuid7()}",
        order_id=paid.saga,
        charge_id=charge,
        amount=amount,
        currency="eur",
    )


def test_a_goodwill_refund_is_found_and_recorded(gateway: str) -> None:
    paid = charged()
    refund_by_hand(gateway, paid, 250)
    assert compared() == [("refunded_outside", paid.saga, 0, 250)]
    assert follow_up_once() == 1
    assert (payment(paid).status, payment(paid).refunded_amount) == ("captured", 250)
    assert compared() == [("refunded_outside", paid.saga, 250, 250)]


def test_a_refund_under_a_later_key_of_ours_is_no_discrepancy(gateway: str) -> None:
    """The first key of a refund may have kept a failure for ever."""
    paid = charged()
    known = payment(paid)
    key = f"{known.refund_key}-2"
    refund = RefundRequest(key, paid.saga, str(known.charge_id), 1250, "eur")
    get_gateway().refund([refund])
    assert compared() == []


def test_a_key_that_only_begins_like_ours_is_not_ours(gateway: str) -> None:
    paid = charged()
    known = payment(paid)
    key = f"{known.refund_key}-2-by-hand"
    refund = RefundRequest(key, paid.saga, str(known.charge_id), 1250, "eur")
    get_gateway().refund([refund])
    assert compared() == [("refunded_outside", paid.saga, 0, 1250)]


def test_the_captured_amount_is_compared_and_then_recorded(gateway: str) -> None:
    """Not the amount of the order: a person may have captured a part of it."""
    paid = charged()
    Payment.objects.filter(order_id=paid.saga).update(captured_amount=500)
    assert compared() == [("amount", paid.saga, 500, 1250)]
    assert follow_up_once() == 1
    assert payment(paid).captured_amount == 1250
    assert compared() == []

    Payment.objects.filter(order_id=paid.saga).update(amount=9999)
    assert compared() == []


def test_a_refund_missing_in_the_statement_is_followed_up(gateway: str) -> None:
    paid = charged()
    Payment.objects.filter(order_id=paid.saga).update(
        status="refunded", refunded_amount=1250, updated_at=datetime.now(UTC)
    )
    assert compared() == []
    assert follow_up_once() == 1
    assert payment(paid).follow_at is None
    assert compared() == []
    assert follow_up_once() == 0


def test_a_refund_missing_beside_another_one_is_followed_up(gateway: str) -> None:
    """A person refunded a part, then the saga the rest, and then the bank returned that refund."""
    paid = charged()
    refund_by_hand(gateway, paid, 250)
    Payment.objects.filter(order_id=paid.saga).update(
        status="refunded", refunded_amount=1250, updated_at=datetime.now(UTC)
    )
    compared()
    assert follow_up_once() == 1
    assert (payment(paid).status, payment(paid).refunded_amount) == ("refunded", 1250)
    assert given_back(paid) == 1250
    compared()
    assert follow_up_once() == 0


def test_a_missing_refund_of_an_order_that_is_kept_is_followed_up(gateway: str) -> None:
    """A person refunded a part, and the bank returned it."""
    paid = charged()
    Payment.objects.filter(order_id=paid.saga).update(
        refunded_amount=250, updated_at=datetime.now(UTC)
    )
    assert compared() == []
    assert follow_up_once() == 1
    assert (payment(paid).status, payment(paid).refunded_amount) == ("captured", 0)
    assert compared() == []
    assert follow_up_once() == 0


def test_a_refund_that_fails_after_its_window_is_followed_up(sandbox: Any) -> None:
    """The payment and its refund are days old, so only the failure lies in the window."""
    paid = charged()
    run("payments.refund", paid)
    days_ago = datetime.now(UTC) - 5 * DAY
    Payment.objects.filter(order_id=paid.saga).update(created_at=days_ago, updated_at=days_ago)
    charge = str(payment(paid).charge_id)
    (refund,) = Account(math.inf).client.v1.refunds.list({"charge": charge}).data
    sandbox.control(f"dashboard/refunds/{refund.id}/fail")
    assert given_back(paid) == 0

    now = datetime.now(UTC)
    reconcile(now - DAY, now + DAY)
    assert follow_up_once() == 1
    assert given_back(paid) == 1250


def test_money_given_back_in_another_way_is_not_given_back_again(gateway: str) -> None:
    """The gateway refused the refund, so a person sent the money and marked the step as done."""
    paid = charged()
    with transaction.atomic(using="payments"):
        refunded_by_hand(paid, BY_TRANSFER)
    assert compared() == []
    assert follow_up_once() == 1
    (balance,) = get_gateway().balance([charge_request(payment(paid))])
    assert isinstance(balance, ChargeBalance)
    assert balance.remaining == 1250
    # The audit compares this amount, so it shows that the gateway has given nothing back.
    assert (payment(paid).status, payment(paid).refunded_amount) == ("refunded", 0)
    assert (payment(paid).follow_at, payment(paid).balance_due_at) == (None, None)


def test_movements_outside_the_window_are_not_compared(gateway: str) -> None:
    charge_outside()
    now = datetime.now(UTC)
    assert reconcile(now - 2 * DAY, now - DAY).movements == 0


def test_a_window_has_all_movements_of_its_last_second(gateway: str) -> None:
    unknown = charge_outside()
    now = datetime.now(UTC)
    (at,) = (
        movement.at
        for movement in get_gateway().statement(now - DAY, now + DAY)
        if movement.order_id == unknown.order_id
    )
    result = reconcile(at - DAY, at.replace(microsecond=999_999))
    assert unknown.order_id in {drift.order_id for drift in result.open}


def test_a_long_statement_is_read_page_by_page(gateway: str) -> None:
    orders = [order() for _ in range(120)]  # a page of Stripe has 100 entries
    run("payments.charge", *orders)
    Payment.objects.filter(order_id=orders[0].saga).update(captured_amount=1)
    assert compared() == [("amount", orders[0].saga, 1, 1250)]


def test_a_repeated_discrepancy_is_one_row_and_stays_closed(gateway: str) -> None:
    unknown = charge_outside()
    assert compared() == compared() == [("charged_unknown", unknown.order_id, 0, 700)]
    drift = Drift.objects.get(order_id=unknown.order_id)
    assert drift.first_seen_at < drift.last_seen_at
    Drift.objects.update(closed_at=datetime.now(UTC), closed_by="ann", closed_why="A gift.")
    assert compared() == []


def test_beat_continues_from_the_last_window() -> None:
    since, until = next_window()
    reconcile_payments()
    again, _ = next_window()
    assert timedelta() < again - since < DAY
    assert again < until + timedelta(minutes=1)


def test_the_command_prints_open_discrepancies_and_exits_with_1() -> None:
    unknown = charge_outside()
    output = io.StringIO()
    window: dict[str, Any] = {"since": datetime.now(UTC) - DAY, "until": datetime.now(UTC) + DAY}
    with pytest.raises(SystemExit) as exit_:
        call_command("reconcile", stdout=output, **window)
    assert exit_.value.code == 1
    assert "charged at the gateway, unknown here: ch_" in output.getvalue()
    assert str(unknown.order_id) in output.getvalue()
    output = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("reconcile", json=True, stdout=output, **window)
    (found,) = json.loads(output.getvalue())["open"]
    assert (found["kind"], found["theirs"]) == ("charged_unknown", 700)


def test_the_command_succeeds_without_open_discrepancies() -> None:
    output = io.StringIO()
    call_command("reconcile", "--since", "2026-01-31T12:00", stdout=output)
    assert "open discrepancies: 0." in output.getvalue()


@pytest.mark.parametrize(
    "wrong", [("--since", "yesterday"), ("--since", "2026-02-01", "--until", "2026-01-01")]
)
def test_the_command_refuses_an_invalid_window(wrong: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        call_command("reconcile", *wrong)


def test_without_a_statement_the_window_stays_unfinished(sandbox: Any, settings: Settings) -> None:
    settings.STRIPE_API_KEY = "sk_test_of_somebody_else"
    with pytest.raises(CommandError, match="no statement") as error:
        call_command("reconcile")
    assert error.value.returncode == 2
    window = Reconciliation.objects.get()
    assert (window.compared_until, window.finished_at) == (window.since, None)


def test_a_discrepancy_is_closed_once_with_name_and_reason(client: Client) -> None:
    charge_outside()
    compared()
    page = f"/admin/payments/drift/{Drift.objects.get().id}/change/"
    ann = User.objects.create_user("ann", is_staff=True)
    ann.user_permissions.add(Permission.objects.get(codename="view_drift"))
    client.force_login(ann)
    assert client.post(page, {"closed_why": "I may not."}).status_code == 403
    ann.user_permissions.add(Permission.objects.get(codename="change_drift"))
    assert client.post(page, {"closed_why": ""}).status_code == 200
    assert Drift.objects.get().closed_at is None
    assert client.post(page, {"closed_why": "A gift."}).status_code == 302
    assert client.post(page, {"closed_why": "Another reason."}).status_code == 403
    drift = Drift.objects.get()
    assert (drift.closed_by, drift.closed_why) == ("ann", "A gift.")
    assert drift.closed_at is not None
    assert (
        client.post(f"/admin/payments/drift/{drift.id}/delete/", {"post": "yes"}).status_code == 403
    )
