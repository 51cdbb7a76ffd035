"""Payments over REST and in the admin: staff can read them, but no user can edit them."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from payments.api.filters import PaymentFilters
from payments.models import Payment
from sagas.ids import uuid7
from tests.integration.orders import harness
from tests.integration.payments.harness import Order, order, payment, prepare, run

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])


@pytest.fixture
def staff() -> APIClient:
    client = APIClient()
    client.force_authenticate(harness.user("ann", *harness.STAFF))
    return client


@pytest.fixture
def superuser(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("superuser"))
    return client


@pytest.fixture
def paid() -> Order:
    made = order(amount=1999)
    run("payments.charge", made)
    return made


def test_payments_are_for_staff_only(paid: Order) -> None:
    customer = APIClient()
    for path in ("payments/", f"payments/{payment(paid).id}/"):
        assert APIClient().get(f"/api/v1/{path}").status_code == 401
    customer.force_authenticate(User.objects.create_user("bob"))
    for path in ("payments/", f"payments/{payment(paid).id}/"):
        assert customer.get(f"/api/v1/{path}").status_code == 403


def test_a_payment_shows_its_status_and_refund(staff: APIClient, paid: Order) -> None:
    run("payments.refund", paid)
    recorded = payment(paid)
    seen = staff.get(f"/api/v1/payments/{recorded.id}/").json()
    assert seen.pop("created_at")
    assert seen == {
        "id": str(recorded.id),
        "order_id": str(paid.saga),
        "status": "refunded",
        "amount": 1999,
        "captured_amount": 1999,
        "refunded_amount": 1999,
        "owed_amount": 0,
        "paid_otherwise_amount": 0,
        "disputed_amount": 0,
        "dispute_status": None,
        "currency": "eur",
        "charge_id": recorded.charge_id,
    }


def test_money_that_was_paid_in_another_way_is_shown_over_rest_and_in_the_list(
    staff: APIClient, superuser: Client, paid: Order
) -> None:
    run("payments.refund", paid)
    Payment.objects.update(refunded_amount=0, paid_otherwise_amount=1999)
    seen = staff.get(f"/api/v1/payments/{payment(paid).id}/").json()
    assert (seen["refunded_amount"], seen["paid_otherwise_amount"]) == (0, 1999)
    assert (
        "19.99 EUR"
        in superuser.get("/admin/payments/payment/")
        .content.decode()
        .partition("field-paid_otherwise")[2]
        .partition("</td>")[0]
    )


def test_a_payment_without_a_charge_has_no_charge_id(staff: APIClient) -> None:
    declined = order("pm_card_chargeDeclined")
    run("payments.charge", declined)
    assert staff.get(f"/api/v1/payments/{payment(declined).id}/").json()["charge_id"] is None


def test_payments_are_filtered_by_order_and_by_status(staff: APIClient, paid: Order) -> None:
    declined = order("pm_card_chargeDeclined")
    run("payments.charge", declined)

    def found(**filters: str) -> list[str]:
        return [
            seen["order_id"] for seen in staff.get("/api/v1/payments/", filters).json()["results"]
        ]

    assert found() == [str(declined.saga), str(paid.saga)]
    assert found(order_id=str(paid.saga)) == [str(paid.saga)]
    assert found(status="declined") == [str(declined.saga)]
    assert found(order_id=str(uuid7())) == []


def seen_after(staff: APIClient, made: Order, **fields: Any) -> dict[str, Any]:
    """Change an order's payment, and return its representation."""
    Payment.objects.filter(order_id=made.saga).update(**fields)
    seen: dict[str, Any] = staff.get(f"/api/v1/payments/{payment(made).id}/").json()
    return seen


def test_money_that_may_have_been_captured_is_not_shown_as_none(staff: APIClient) -> None:
    made = order(amount=1999)
    prepare("payments.charge", made)
    undecided = seen_after(staff, made)
    assert undecided["status"] == "pending"
    assert (undecided["captured_amount"], undecided["owed_amount"]) == (None, None)

    authorized = seen_after(
        staff, made, status="authorized", authorization_expires_at=timezone.now()
    )
    assert (authorized["captured_amount"], authorized["owed_amount"]) == (None, None)

    for status in ("declined", "void"):
        ended = seen_after(staff, made, status=status)
        assert (ended["captured_amount"], ended["owed_amount"]) == (0, 0)


def test_a_payment_shows_the_amount_that_was_truly_captured(staff: APIClient, paid: Order) -> None:
    assert seen_after(staff, paid, captured_amount=500)["captured_amount"] == 500
    earlier_release = seen_after(staff, paid, captured_amount=None)
    assert earlier_release["captured_amount"] == 1999


def test_a_payment_shows_what_is_owed_and_disputed(staff: APIClient, paid: Order) -> None:
    seen = seen_after(staff, paid, refunded_amount=400, owed_amount=1599)
    assert (seen["refunded_amount"], seen["owed_amount"]) == (400, 1599)

    seen = seen_after(staff, paid, disputed_amount=1599, dispute_status="open")
    assert (seen["disputed_amount"], seen["dispute_status"]) == (1599, "open")


def test_payments_are_filtered_by_disputes_and_by_money_that_is_owed(staff: APIClient) -> None:
    def charged(**fields: Any) -> str:
        made = order()
        run("payments.charge", made)
        Payment.objects.filter(order_id=made.saga).update(**fields)
        return str(made.saga)

    disputed = charged(disputed_amount=1250, dispute_status="open")
    lost = charged(disputed_amount=1250, dispute_status="lost")
    won = charged(dispute_status="won")
    owed = charged(owed_amount=250)
    usual = charged()

    def found(**filters: str) -> list[str]:
        results = staff.get("/api/v1/payments/", filters).json()["results"]
        return [seen["order_id"] for seen in results]

    assert found(disputed="true") == [lost, disputed]
    assert found(disputed="false") == [usual, owed, won]
    assert found(owed="true") == [owed]
    assert found(owed="false") == [usual, won, lost, disputed]
    assert found(owed="true", disputed="true") == []


def test_the_filters_of_rare_payments_read_an_index() -> None:
    with transaction.atomic("payments"), connections["payments"].cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        for name, index in (("disputed", "withdrawn"), ("owed", "owed")):
            payments = PaymentFilters({name: "true"}, Payment.objects.order_by("-id")).qs
            assert f"payments_payment_{index}" in payments.explain()


@pytest.mark.parametrize(
    "wrong",
    [
        {"disputed": "yes"},
        {"disputed": ""},
        {"owed": "1"},
        {"status": "gone"},
        {"status": ""},
        {"order_id": ""},
        {"order_id": "5"},
        {"limit": "0"},
        {"limit": "101"},
        {"cursor": "x"},
    ],
)
def test_an_invalid_filter_is_refused(staff: APIClient, wrong: dict[str, str]) -> None:
    answer = staff.get("/api/v1/payments/", wrong)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert [error["field"] for error in answer.json()["errors"]] == list(wrong)


def test_rest_cannot_write_payments(staff: APIClient, paid: Order) -> None:
    for method in (staff.post, staff.put, staff.patch, staff.delete):
        assert method(f"/api/v1/payments/{payment(paid).id}/", {}, format="json").status_code == 405


@pytest.mark.parametrize("page", ["payment", "simulatedcharge", "outbox", "inbox"])
def test_every_admin_page_opens_and_searches(superuser: Client, paid: Order, page: str) -> None:
    for term in ("", str(paid.saga), str(payment(paid).charge_id), "' OR 1=1", "…"):
        assert superuser.get(f"/admin/payments/{page}/", {"q": term}).status_code == 200


def test_the_admin_finds_a_payment_by_its_order_and_edits_none(
    superuser: Client, paid: Order
) -> None:
    other = order()
    run("payments.charge", other)
    page = superuser.get("/admin/payments/payment/", {"q": str(paid.saga)}).content.decode()
    assert str(paid.saga) in page
    assert str(other.saga) not in page
    change = f"/admin/payments/payment/{payment(paid).id}/change/"
    assert superuser.get(change).status_code == 200
    assert superuser.post(change, {"status": "refunded"}).status_code == 403
    assert payment(paid).status == "captured"
