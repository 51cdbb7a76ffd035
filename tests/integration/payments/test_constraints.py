"""Constraints in the database refuse inconsistent payments."""

import pytest
from django.db import IntegrityError

from payments.models import Payment
from tests.integration.payments.harness import order, payment, prepare, run

pytestmark = pytest.mark.django_db(transaction=True, databases=["payments"])


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"amount": 0}, "payments_amount_positive|payments_refunded_at_most_captured"),
        ({"status": "gone"}, "payments_status_known|payments_charge_id_if_captured"),
        ({"status": "refunded", "refunded_amount": 1251}, "payments_refunded_at_most_captured"),
        ({"status": "refunded", "refunded_amount": -1}, "payments_refunded_at_most_captured"),
        (
            {"status": "void", "charge_id": None, "refunded_amount": 1},
            "payments_refunded_only_if_captured",
        ),
        (
            {"status": "void", "charge_id": None, "disputed_amount": 1},
            "payments_refunded_only_if_captured",
        ),
        ({"captured_amount": 500, "refunded_amount": 501}, "payments_refunded_at_most_captured"),
        ({"owed_amount": -1}, "payments_owed_only_if_captured"),
        ({"status": "refunded", "owed_amount": 1}, "payments_owed_only_if_captured"),
        ({"dispute_status": "lose"}, "payments_dispute_known"),
        ({"disputed_amount": -1}, "payments_dispute_known"),
        ({"charge_id": None}, "payments_charge_id_if_captured"),
        ({"status": "void"}, "payments_charge_id_if_captured"),
    ],
)
def test_a_payment_cannot_contradict_itself(fields: dict[str, object], constraint: str) -> None:
    paid = order()
    run("payments.charge", paid)
    with pytest.raises(IntegrityError, match=constraint):
        Payment.objects.filter(order_id=paid.saga).update(**fields)


def test_a_refund_by_a_worker_of_the_last_release_clears_the_owed_amount() -> None:
    """That worker does not know the column, and updates a whole batch in one statement."""
    owed, other = order(), order()
    run("payments.charge", owed, other)
    Payment.objects.filter(order_id=owed.saga).update(owed_amount=1250)
    Payment.objects.update(status="refunded", refunded_amount=1250)
    assert payment(owed).owed_amount == 0
    assert payment(other).status == "refunded"


def test_an_order_has_one_payment() -> None:
    paid = order()
    prepare("payments.charge", paid)
    with pytest.raises(IntegrityError, match="order_id"):
        Payment.objects.create(
            order_id=paid.saga,
            amount=1,
            currency="eur",
            payment_method="pm",
            charge_key="1",
            refund_key="1",
        )


def test_a_charge_belongs_to_one_payment() -> None:
    first, second = order(), order()
    run("payments.charge", first, second)
    with pytest.raises(IntegrityError, match="charge_id"):
        Payment.objects.filter(order_id=second.saga).update(charge_id=payment(first).charge_id)
