"""No page of the admin shows the address at which a customer confirms a payment."""

import json

import pytest
from django_celery_results.models import TaskResult

from orders.models import TimelineEvent
from payments.models import Inbox, Outbox
from sagas.admin.formatting import without_private_text
from sagas.ids import uuid7
from tests.integration.orders import harness

pytestmark = pytest.mark.django_db(databases="__all__")

URL = "https://hooks.stripe.com/redirect?client_secret=seti_secret"
ASKED = {"url": URL, "expires_at": "2026-01-01T00:00:00Z"}


@pytest.fixture
def order():
    order = harness.order(action={"type": "redirect", **ASKED})
    event = {"saga": order.id, "seq": 1, "type": "payment.action_required"}
    message = {"timeline_entries": [{"detail": ASKED}], "context": {}}
    started = {"saga_started_at": order.created_at, "step": "payments.charge"}
    Outbox.objects.create(**event, **started, data=ASKED, context={}, plan={})
    Inbox.objects.create(saga=order.id, **started, state="waiting", message=message)
    TimelineEvent.objects.create(
        **event, id=uuid7(), service="payments", at=order.created_at, detail=ASKED
    )
    TaskResult.objects.create(
        task_id="1",
        task_name="sagas.run_step",
        status="FAILURE",
        task_args=repr([json.dumps([message])]),
        task_kwargs=repr({"messages": [message]}),
    )
    return order


def pages(order):
    yield f"orders/order/{order.id}/change/"
    yield f"orders/order/{order.id}/export/"
    yield f"payments/outbox/{Outbox.objects.get().pk}/change/"
    yield f"payments/inbox/{Inbox.objects.get().pk}/change/"
    yield f"django_celery_results/taskresult/{TaskResult.objects.get().pk}/change/"
    yield "payments/outbox/"
    yield "payments/inbox/"


def test_no_page_shows_it_to_viewers_or_to_administrators(order, viewer, admin_client):
    for client in (viewer, admin_client):
        for page in pages(order):
            answer = client.get(f"/admin/{page}")
            assert answer.status_code == 200, page
            assert "seti_secret" not in answer.content.decode(), page


def test_the_page_says_that_it_is_hidden(order, viewer):
    page = viewer.get(f"/admin/payments/outbox/{Outbox.objects.get().pk}/change/").content.decode()
    assert "hidden" in page
    assert "2026-01-01T00:00:00Z" in page


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ASKED),
        repr(ASKED),
        repr(json.dumps(ASKED)),
        json.dumps(json.dumps(ASKED)),
        "{'url': \"https://a.example/it's?client_secret=seti_secret\"}",
    ],
)
def test_arguments_of_a_task_hide_it_however_they_are_quoted(text):
    hidden = without_private_text(text)
    assert "seti_secret" not in hidden
    assert "hidden" in hidden
