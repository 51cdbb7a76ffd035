"""The customer's next action is shown while it can be done, and no longer."""

from datetime import timedelta

import pytest
from django.utils import timezone

from orders.models import Order
from orders.status import Status
from sagas.storage.registry import get_home
from sagas.storage.timeline import record
from tests.integration.orders import harness
from tests.integration.orders.test_status import event

URL = "https://payments.example/voucher/1"


def asked(order, seconds=600, **detail):
    expires_at = (timezone.now() + timedelta(seconds=seconds)).isoformat()
    return event(
        order, "payment.action_required", 1, **{"url": URL, "expires_at": expires_at, **detail}
    )


def shown(client, order):
    """Return the action in the order, read alone and in the list."""
    alone = client.get(harness.path(order)).json()["next_action"]
    (listed,) = client.get(harness.ORDERS).json()["results"]
    assert listed["next_action"] == alone
    return alone


@pytest.mark.parametrize("method", ["card", "boleto"])
def test_the_action_is_shown_with_its_deadline_and_the_kind_of_payment_method(ada, method):
    order = harness.order()
    notice = asked(order, method=method)
    Order.apply_events([notice])
    assert shown(ada, order) == {
        "type": "redirect",
        "url": URL,
        "expires_at": notice.detail["expires_at"],
        "method": method,
    }


@pytest.mark.parametrize("detail", [{}, {"method": ""}], ids=["earlier release", "not known"])
def test_the_kind_of_payment_method_is_null_if_it_is_not_known(ada, detail):
    order = harness.order()
    Order.apply_events([asked(order, **detail)])
    assert shown(ada, order)["method"] is None


def test_an_action_that_an_earlier_release_stored_is_shown(ada):
    expires_at = (timezone.now() + timedelta(hours=1)).isoformat()
    order = harness.order(action={"type": "redirect", "url": URL, "expires_at": expires_at})
    assert shown(ada, order)["url"] == URL


def test_an_action_is_not_shown_after_its_deadline(ada):
    order = harness.order()
    Order.apply_events([asked(order, seconds=-1)])
    assert shown(ada, order) is None


@pytest.mark.parametrize(
    "done", [("payment.authorized", {}), ("payment.undecided", {"subject": "charge"})]
)
@pytest.mark.parametrize("late", [False, True])
def test_a_customer_who_has_acted_is_asked_nothing_any_more(ada, done, late):
    order = harness.order()
    notice, end = asked(order), event(order, done[0], 1, **done[1])
    for entry in (end, notice) if late else (notice, end):
        Order.apply_events([entry])
        if not late and entry is notice:
            assert shown(ada, order)["url"] == URL
    order.refresh_from_db()
    assert (order.status, shown(ada, order)) == ("pending", None)


@pytest.mark.parametrize("order_of_events", [(0, 1), (1, 0)])
def test_events_of_one_batch_end_the_action_in_any_order(ada, order_of_events):
    order = harness.order()
    entries = [asked(order), event(order, "payment.undecided", 1, subject="charge")]
    Order.apply_events([entries[number] for number in order_of_events])
    assert shown(ada, order) is None


def test_an_undecided_refund_leaves_the_action_as_it_is(ada):
    order = harness.order()
    Order.apply_events([asked(order), event(order, "payment.undecided", 1, subject="refund")])
    assert shown(ada, order)["url"] == URL


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("payment.processed", Status.PAID),
        ("payment.failed", Status.CANCELLING),
        ("payment.barred", Status.CANCELLING),
        ("order.cancelling", Status.CANCELLING),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_a_decided_payment_hides_the_action(ada, kind, status, late):
    order = harness.order()
    notice, decided = asked(order), event(order, kind, 1)
    for entry in (decided, notice) if late else (notice, decided):
        Order.apply_events([entry])
    order.refresh_from_db()
    assert (order.status, shown(ada, order)) == (status, None)


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_staff_see_that_the_customer_must_act_but_not_the_address(ada):
    order = harness.order()
    notice = asked(order, method="card")
    Order.apply_events([notice])
    staff = harness.client_of("sid", *harness.STAFF)
    assert shown(staff, order) == {
        "type": "redirect",
        "url": None,
        "expires_at": notice.detail["expires_at"],
        "method": "card",
    }
    assert shown(ada, order)["url"] == URL


def test_a_timeline_has_the_address_for_the_customer_only(ada):
    order = harness.order()
    record(get_home("orders"), [asked(order, method="card")])
    staff = harness.client_of("sid", *harness.STAFF)
    details = [
        client.get(harness.path(order, "timeline/")).json()["results"][0]["detail"]
        for client in (ada, staff)
    ]
    assert [detail.get("url") for detail in details] == [URL, None]
    assert details[1]["method"] == "card"
