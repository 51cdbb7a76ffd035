"""Failing steps are grouped by step and error, and a group leads to its orders."""

import pytest

from console.failures import grouping
from console.failures.grouping import current_failures, failing_steps
from inventory.models import Inbox as InventoryInbox
from payments.models import Hold, Inbox
from tests.integration.console.conftest import client_of, count_queries
from tests.integration.orders import harness

PAGE = "/admin/failures/"
LIST = "/admin/orders/order/"

pytestmark = pytest.mark.django_db(databases="__all__")


def failing(error, *, step="payments.charge", table=Inbox, **fields):
    order = harness.order()
    row = {"state": "waiting", "attempts": 2, "send_at": "2099-01-01T00:00:00Z", **fields}
    table.objects.create(
        saga=order.id, saga_started_at=order.created_at, step=step, error=error, **row
    )
    return order


def test_steps_that_fail_alike_are_a_group_the_largest_first():
    failing("lost 1")
    many = [failing(f"no answer within {n} s", attempts=n) for n in (1, 2, 3)]
    failing("no answer within 1 s", step="inventory.ship", table=InventoryInbox)
    found = current_failures().groups
    assert (found[0].step, len(found[0].sagas)) == ("payments.charge", 3)
    assert len(found) == 3
    assert set(found[0].sagas) == {order.id for order in many}
    assert (found[0].attempts, found[0].error) == (3, "no answer within 3 s")


def test_a_final_step_or_one_without_error_is_no_failure():
    failing("declined", state="refused")
    failing("asked twice", state="done")
    failing("")
    assert current_failures().groups == []


def test_orders_that_wait_because_their_step_fails_for_many_are_failures_too():
    at_the_hold = failing("no such column", step="payments.refund", state="held", attempts=0)
    Hold.objects.create(step="payments.refund", automatic=True, why="its code does not fit")
    beside = failing("no answer", attempts=1, excused=1)
    failing("asked before an operator held it", state="held", attempts=0)
    failing("waits as agreed", attempts=0)
    found = {group.error: group.sagas for group in current_failures().groups}
    assert found.keys() == {"no such column", "no answer"}
    assert set(failing_steps([at_the_hold.id, beside.id])) == {at_the_hold.id, beside.id}


def test_a_group_counts_its_orders_by_the_outside_system_that_they_have_called(viewer):
    for number in range(7):
        failing("no answer", destination=f"bank/{number}")
    failing("no answer", destination="bank/6")
    (group,) = current_failures().groups
    named = "bank/6 (2), bank/0 (1), bank/1 (1), bank/2 (1), bank/3 (1), …"
    assert group.destinations_text == named
    assert f"at payments.charge to {named}" in viewer.get(PAGE).content.decode()


def test_a_group_leads_to_its_orders(viewer):
    wanted = [failing("lost 1"), failing("lost 2")]
    failing("something else")
    page = viewer.get(PAGE)
    group = next(group for group in page.context["failures"].groups if len(group.sagas) == 2)
    link = f"{LIST}?failure={group.key}"
    assert f'href="{link}"' in page.content.decode()
    assert {order.pk for order in viewer.get(link).context["cl"].queryset} == {
        order.id for order in wanted
    }


def test_a_group_that_is_gone_has_no_orders(viewer):
    harness.order()
    assert list(viewer.get(LIST, {"failure": "0" * 16}).context["cl"].queryset) == []


def test_no_more_rows_are_looked_at_than_the_limit_and_the_page_says_so(viewer, monkeypatch):
    monkeypatch.setattr(grouping, "MOST", 2)
    for n in range(3):
        failing(f"lost {n}")
    page = viewer.get(PAGE)
    assert [len(group.sagas) for group in page.context["failures"].groups] == [2]
    assert "There are more failures than shown" in page.content.decode()


def test_a_service_that_is_down_is_named_and_the_others_are_shown(viewer, broken):
    failing("lost 1", step="inventory.ship", table=InventoryInbox)
    broken("payments", "payments_inbox")
    page = viewer.get(PAGE)
    assert page.context["failures"].unreachable == ["payments"]
    assert len(page.context["failures"].groups) == 1


def test_a_service_that_is_down_is_not_said_to_have_no_failure(viewer, broken):
    order = failing("no luck")
    [group] = current_failures().groups
    broken("payments", "payments_inbox")
    assert "No step of the other services fails." in viewer.get(PAGE).content.decode()
    page = viewer.get(f"{PAGE}{group.key}/")
    assert page.status_code == 200
    assert "Unknown: not all failures could be read" in page.content.decode()
    assert "has this failure now" not in page.content.decode()
    listed = viewer.get(LIST, {"failure": group.key}).content.decode()
    assert "The database of payments does not answer: orders are missing" in listed
    assert str(order.id) not in listed


def test_a_step_that_waits_as_agreed_is_no_failure(viewer):
    agreed = failing("The customer has to confirm the payment.", attempts=0)
    failing("The customer has to confirm the payment.", state="started", attempts=1)
    assert current_failures().groups == []
    parked = failing("Its saga was purged.", attempts=0, send_at=None)
    assert [group.sagas for group in current_failures().groups] == [[parked.id]]
    page = viewer.get(f"/admin/orders/order/{agreed.id}/change/").content.decode()
    assert "payments.charge waits as agreed: The customer has to confirm" in page


def test_without_failures_the_page_explains_itself(admin_client):
    assert "No step fails." in admin_client.get(PAGE).content.decode()


def test_an_error_is_escaped(viewer):
    failing("<script>alert(1)</script>")
    assert "<script>alert(1)" not in viewer.get(PAGE).content.decode()


def test_the_page_takes_few_queries_however_much_fails(viewer):
    for n in range(20):
        failing(f"lost {'x' * n}")
    with count_queries() as total:
        viewer.get(PAGE)
    assert total() <= 20


def test_failures_need_the_permission_to_view_orders(db):
    assert client_of("sid").get(PAGE).status_code == 403
