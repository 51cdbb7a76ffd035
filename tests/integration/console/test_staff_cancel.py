"""Staff at another surface cancel an order by the console's run: at once, or once approved."""

import pytest
from django.db import OperationalError
from django.test import Client

from api.auth.tokens import issue_token
from backoffice.actions.cancel import CancelOrder
from backoffice.staff_cancel import cancel_as_staff
from console.bulk_actions import worker
from console.models import Run
from orders.models import Order
from orders.services import OrderFulfilledError
from orders.status import Status
from staff.models import LogEntry
from staff.policy import NotPermitted, decide
from staff.writes import Rejected
from tests.integration.console.operators import member, paid, work
from tests.integration.orders import harness

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("flushed"),
]


def entries(order):
    found = LogEntry.objects.filter(order_id=order.id)
    return list(found.order_by("id").values_list("who", "what", "action", "via"))


def test_the_order_is_being_cancelled_by_the_shop_once_it_returns(olga):
    order = paid()
    cancelled = cancel_as_staff(order.id, by=olga, reason="The customer called.")
    order.refresh_from_db()
    run = Run.objects.get(id=cancelled.run_id)
    assert not cancelled.awaiting_approval
    assert (order.status, order.failure_code) == (Status.CANCELLING, "cancelled_by_shop")
    assert (run.state, run.reason, run.via) == ("ended", "The customer called.", "api")
    assert entries(order) == [("olga", "acted", "cancel", "api")]
    of_run = LogEntry.objects.filter(run=run.id).order_by("id")
    assert list(of_run.values_list("what", "via")) == [
        ("requested", "api"),
        ("acted", "api"),
        ("ended", "api"),
    ]


def test_no_worker_acts_on_it_as_well(olga, monkeypatch):
    order, applied = paid(), []
    original = CancelOrder.apply

    def apply(self, order, run):
        assert worker.work_once() == 0
        applied.append(order.id)
        return original(self, order, run)

    monkeypatch.setattr(CancelOrder, "apply", apply)
    cancel_as_staff(order.id, by=olga, reason="The customer called.")
    work()
    assert applied == [order.id]


def test_a_worker_completes_it_after_an_error(olga, monkeypatch):
    order = paid()
    with monkeypatch.context() as broken:
        broken.setattr(CancelOrder, "apply", failing)
        run_id = cancel_as_staff(order.id, by=olga, reason="The customer called.").run_id
    run = Run.objects.get(id=run_id)
    assert (run.state, run.items.get().attempts) == ("running", 1)

    run.items.update(due_at="2020-01-01T00:00:00Z")  # the lease has expired
    work()
    order.refresh_from_db()
    run.refresh_from_db()
    assert (run.state, order.status) == ("ended", Status.CANCELLING)


def failing(self, order, run):
    raise OSError("The connection was lost.")


def test_a_refund_above_the_limit_waits_for_another_person_and_is_asked_once(olga, settings):
    settings.CONSOLE_REFUND_LIMIT = 2_000
    order = paid()
    first = cancel_as_staff(order.id, by=olga, reason="The customer called.")
    again = cancel_as_staff(order.id, by=olga, reason="The customer called.")
    work()
    order.refresh_from_db()
    assert (first, order.status) == (again, Status.PENDING)
    assert first.awaiting_approval


def test_a_viewer_is_refused_and_the_log_has_it(db):
    order, vera = paid(), member("vera", "viewer")
    with pytest.raises(NotPermitted, match=r"console\.add_run"):
        cancel_as_staff(order.id, by=vera, reason="I may not.")
    assert entries(order) == [("vera", "refused", "cancel", "api")]
    assert not Run.objects.exists()
    assert Order.objects.get(id=order.id).status == Status.PENDING


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_reason_is_required_and_no_run_is_left(olga, reason):
    with pytest.raises(Rejected, match="Give a reason"):
        cancel_as_staff(paid().id, by=olga, reason=reason)
    assert not Run.objects.exists()


def test_a_database_that_does_not_answer_is_named_and_no_run_is_left(olga, renamed):
    order = paid()
    renamed("payments", "payments_payment")
    with pytest.raises(Rejected, match="payments does not answer"):
        cancel_as_staff(order.id, by=olga, reason="The customer called.")
    assert not Run.objects.exists()
    assert entries(order) == [("olga", "refused", "cancel", "api")]
    entry = LogEntry.objects.get(order_id=order.id)
    assert entry.outcome.startswith("The database of payments does not answer")
    assert entry.why == "The customer called."


def test_a_fulfilled_order_stays_and_no_run_is_made(olga):
    order = harness.order(Status.FULFILLED)
    with pytest.raises(OrderFulfilledError):
        cancel_as_staff(order.id, by=olga, reason="The customer called.")
    assert not Run.objects.exists()
    assert entries(order) == [("olga", "failed", "cancel", "api")]


def test_an_error_of_the_database_is_in_the_log(olga, monkeypatch):
    order = paid()
    monkeypatch.setattr("console.bulk_actions.runs.lock_allowance", failing_query)
    with pytest.raises(OperationalError):
        cancel_as_staff(order.id, by=olga, reason="The customer called.")
    assert not Run.objects.exists()
    assert entries(order) == [("olga", "failed", "cancel", "api")]


def failing_query(*_):
    raise OperationalError("The connection was lost.")


def test_an_order_that_is_fulfilled_meanwhile_has_the_entry_of_its_run_only(olga, monkeypatch):
    order = paid()

    def fulfil(run):
        Order.objects.filter(id=order.id).update(status=Status.FULFILLED)
        worker_act_on(run)

    worker_act_on = worker.act_on
    monkeypatch.setattr("backoffice.staff_cancel.worker.act_on", fulfil)
    with pytest.raises(OrderFulfilledError):
        cancel_as_staff(order.id, by=olga, reason="The customer called.")
    assert entries(order) == [("olga", "acted", "cancel", "api")]


def test_the_run_of_another_person_that_waits_is_not_taken_for_ones_own(olga, settings):
    settings.CONSOLE_REFUND_LIMIT = 2_000
    order, oscar = paid(), member("oscar", "operator")
    first = cancel_as_staff(order.id, by=olga, reason="The customer called.")
    second = cancel_as_staff(order.id, by=oscar, reason="The parcel was lost.")
    assert first.run_id != second.run_id
    of_runs = LogEntry.objects.filter(action="cancel").order_by("seq")
    assert list(of_runs.values_list("who", "what", "run")) == [
        ("olga", "awaiting", first.run_id),
        ("oscar", "awaiting", second.run_id),
    ]


class TestOverRest:
    """The answers of the API, which calls the same function."""

    @pytest.fixture
    def client(self, olga):
        return Client(headers={"Authorization": f"Bearer {issue_token(olga)}"})

    def cancel(self, client, order, **body):
        return client.post(harness.path(order.id, "cancel/"), body, content_type=harness.JSON)

    def test_a_missing_or_blank_reason_is_400_and_no_run_is_left(self, client):
        order = paid()
        for body in ({}, {"reason": " "}, {"reason": 1}):
            answer = self.cancel(client, order, **body)
            assert (answer.status_code, [*harness.fields(answer)]) == (400, ["reason"])
        without = client.post(harness.path(order.id, "cancel/"))
        assert harness.fields(without) == {"reason": "required_of_staff"}
        assert not Run.objects.exists()

    def test_a_viewer_is_refused_before_the_request_is_read_and_the_log_has_it(self):
        order, vera = paid(), member("vera", "viewer")
        client = Client(headers={"Authorization": f"Bearer {issue_token(vera)}"})
        assert self.cancel(client, order).status_code == 403
        assert entries(order) == [("vera", "refused", "cancel", "api")]

    def test_a_fulfilled_order_is_409(self, client):
        answer = self.cancel(client, harness.order(Status.FULFILLED), reason="The customer called.")
        assert (answer.status_code, answer.json()["type"]) == (409, "/errors/order-fulfilled")
        assert not Run.objects.exists()

    def test_above_the_limit_the_answer_names_the_run_that_awaits_approval(self, client, settings):
        settings.CONSOLE_REFUND_LIMIT = 2_000
        order = paid()
        answer = self.cancel(client, order, reason="The customer called.")
        run = Run.objects.get()
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        assert answer.headers["Awaiting-Approval"] == str(run.id)
        assert run.state == Run.State.AWAITING

    def test_within_the_limit_nothing_awaits_approval(self, client):
        answer = self.cancel(client, paid(), reason="The customer called.")
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
        assert "Awaiting-Approval" not in answer.headers

    def test_the_policy_is_asked_once(self, client, monkeypatch):
        order, asked = paid(), []

        def counted(actor, action, subject=None, **about):
            asked.append(action)
            return decide(actor, action, subject, **about)

        monkeypatch.setattr("staff.writes.decide", counted)
        self.cancel(client, order, reason="The customer called.")
        assert asked == ["cancel"]
