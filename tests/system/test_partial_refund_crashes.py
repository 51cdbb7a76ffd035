"""A part of a payment is given back once, wherever a worker is killed that gives it back."""

import pytest
from django.contrib.auth.models import User

import sagas
from payments.models import PartialRefund, Payment
from returns.events import ReturnRequested
from returns.models import Return, ReturnedOrder
from returns.saga import RETURN_GOODS
from sagas.testing import Crash, crashes
from sagas.testing.record import End
from tests.integration.payments.harness import ledger
from tests.integration.payments.part_harness import STEP, paid

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.faults,
    pytest.mark.timeout(300),
]

CRASHES = [
    crash for crash in crashes(RETURN_GOODS) if crash.fault.step == STEP and crash.end is End.DONE
]


@pytest.mark.parametrize("crash", CRASHES, ids=str)
def test_a_part_is_given_back_once(crash: Crash, saga_workers) -> None:
    bought = paid()
    customer = User.objects.create_user("ada")
    order = ReturnedOrder.objects.create(
        order_id=bought.saga, user=customer, amount=1250, currency="eur"
    )

    def start() -> Return:
        row = Return(
            order=order, user=customer, kind="goodwill", amount=300, currency="eur", reason="late"
        )
        event = ReturnRequested(
            order_id=bought.saga, kind="goodwill", amount=300, currency="eur", needs_approval=False
        )
        return sagas.start(RETURN_GOODS, row, event)

    saga_workers.survive(crash, start)

    refund = PartialRefund.objects.get()
    assert (refund.status, refund.refunded_amount, refund.order_id) == (
        "succeeded",
        300,
        bought.saga,
    )
    payment = Payment.objects.get()
    assert (payment.status, payment.refunded_amount) == ("captured", 300)
    assert ledger(bought) == {"capture": 1250, "refund": 300}
