"""The parts of a payment that were given back, in the console: shown, owed, and paid otherwise."""

from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client
from msgspec.structs import replace

import sagas
from console.bulk_actions import runs
from orders.status import Status
from payments.models import Inbox, PartialRefund, Payment
from returns.events import ReturnRequested
from returns.models import Return, ReturnedOrder
from returns.saga import RETURN_GOODS
from sagas.control import hold_step
from sagas.ids import uuid7
from sagas.testing import story
from tests.integration.console.operators import outcomes, work
from tests.integration.console.payments_rows import payment
from tests.integration.orders import harness
from tests.integration.payments.part_harness import STEP, call_parts, paid, part_of

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("quiet"),
]


@pytest.fixture
def order() -> Any:
    """Return a fulfilled order whose payment of 12.50 euros is captured."""
    row = harness.order(Status.FULFILLED)
    payment(row.id, status="captured", refunded_amount=300)
    return row


def part(order: Any, status: str, **fields: Any) -> UUID:
    """Insert the refund of a part of 3.00 euros; return the id of its saga."""
    saga = uuid7()
    default = {"asked_amount": 300, "amount": 300, "currency": "eur", "key": f"refund-part-{saga}"}
    row = {**default, "id": saga, "order_id": order.id, "status": status, **fields}
    PartialRefund.objects.create(**row)
    return saga


def page_of(client: Client, order: Any) -> Any:
    """Return the page of an order."""
    return client.get(f"/admin/orders/order/{order.id}/change/")


def test_the_page_of_an_order_shows_each_part(order: Any, viewer: Client) -> None:
    done = part(order, "succeeded", refunded_amount=300, refund_id="re_1")
    less = part(order, "succeeded", refunded_amount=100, covered_amount=200)
    hand = part(order, "succeeded", covered_amount=300, reference="transfer 7")
    asked = part(order, "pending")
    failed = part(order, "failed")
    detail = page_of(viewer, order).context["detail"]
    assert [fact.value for fact in detail.payment_facts if fact.label == "Refund of a part"] == [
        f"3.00 EUR, given back: re_1, for saga {done}",
        f"3.00 EUR, of which 1.00 EUR were refunded, because nothing was left of the charge, "
        f"for saga {less}",
        f"3.00 EUR, given back by a person: transfer 7, for saga {hand}",
        f"3.00 EUR, not given back yet, for saga {asked}",
        f"3.00 EUR, of which 0.00 EUR are back; the refund failed at the bank, for saga {failed}",
    ]
    assert [alarm for alarm in detail.alarms if f"saga {failed} has failed" in alarm]


def test_an_owed_part_is_listed_and_recorded_as_paid_in_another_way(
    order: Any, viewer: Client, olga: User
) -> None:
    saga = part(order, "failed")
    listed = viewer.get("/admin/payments/payment/", {"money": "owed"})
    assert [row.order_id for row in listed.context["cl"].result_list] == [order.id]
    assert "3.00 EUR" in listed.content.decode()
    parts = viewer.get("/admin/payments/partialrefund/", {"q": str(order.id)})
    assert [row.id for row in parts.context["cl"].result_list] == [saga]

    run = runs.draft("paid_otherwise", [order.id], by=olga)
    assert runs.preview(run).refunds == {"eur": 300}
    seen = runs.preview(run).fingerprint
    runs.confirm(run.id, by=olga, reason="Closed.", fingerprint=seen, reference="transfer 7")
    work()
    said = "3.00 EUR are recorded as paid in another way: transfer 7."
    assert outcomes(run) == [("done", f"{said} The gateway is asked for no refund any more.")]
    assert PartialRefund.objects.get().status == "succeeded"
    assert Payment.objects.get().paid_otherwise_amount == 300


def goodwill(user: User, order: UUID) -> Return:
    """Give 3.00 euros of an order out of goodwill."""
    of_order = ReturnedOrder.objects.create(order_id=order, user=user, amount=1250, currency="eur")
    given: dict[str, Any] = {"kind": "goodwill", "amount": 300, "currency": "eur"}
    return sagas.start(
        RETURN_GOODS,
        Return(order=of_order, user=user, reason="late", **given),
        ReturnRequested(order_id=order, needs_approval=False, **given),
    )


def test_a_part_that_is_marked_as_done_counts_towards_the_limit_of_refunds(olga: User) -> None:
    bought = paid()
    row = goodwill(olga, bought.saga)
    asked = replace(part_of(bought, 300), saga=row.id)
    call_parts(asked)
    Inbox.objects.create(
        saga=row.id, saga_started_at=row.created_at, step=STEP, state="waiting", attempts=1
    )
    seen = runs.preview(runs.draft("by_hand", [row.id], by=olga, step=STEP))
    assert (seen.affected, seen.refunds) == (1, {"eur": 300})


def test_a_part_whose_step_has_not_run_counts_towards_the_limit_of_refunds(olga: User) -> None:
    hold_step(STEP, by="olga", why="The gateway is down.")
    bought = paid()
    told = story(RETURN_GOODS, lambda: goodwill(olga, bought.saga)).run()
    assert (Inbox.objects.get(step=STEP).state, PartialRefund.objects.count()) == ("held", 0)
    seen = runs.preview(runs.draft("by_hand", [told.saga], by=olga, step=STEP))
    assert (seen.affected, seen.refunds) == (1, {"eur": 300})
