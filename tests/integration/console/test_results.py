"""Failed tasks with their traceback and their orders, and the models without a page."""

import json
from datetime import UTC, datetime

import pytest
from celery import current_app
from celery.app.task import Context
from celery.exceptions import NotRegistered
from celery.utils.objects import Bunch
from django.apps import apps
from django.contrib import admin
from django.urls import reverse
from django_celery_results.models import TaskResult
from msgspec import to_builtins

from console.failures.tracebacks import count_of, orders_of, tasks_about
from payments.models import Inbox
from sagas.celery.result_backend import MOST_NAMED
from sagas.definition.messages import Message
from sagas.execution.failures import Failure, StepFailed
from sagas.ids import uuid7
from tests.integration.orders import harness

LIST = "/admin/django_celery_results/taskresult/"

NOW = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.django_db(databases="__all__")


def fail(error, traceback="", **request):
    """Have a task fail, as Celery tells its backend."""
    name = str(uuid7())
    context = Context(id=name, kwargs={}, argsrepr="as the relay shows them", **request)
    current_app.backend.mark_as_failure(name, error, traceback, request=context)


@pytest.fixture
def failed():
    """A task that failed for one order of two, as Celery keeps it; it is chained to another, and
    has no callback.
    """
    message, other = (
        Message(id=uuid7(), saga=uuid7(), started_at=NOW, seq=1, context={}) for _ in range(2)
    )
    error = StepFailed(
        "payments.charge", [Failure(message=message, attempt=1, error="Boom", isolated=True)]
    )
    given = [to_builtins(message), to_builtins(other)]
    behind = [{"task": "sagas.flush", "options": {"task_id": "behind"}}]
    fail(
        error,
        "Traceback: <boom>",
        args=["payments.charge", {}, given, []],
        task="sagas.run_step",
        chain=behind,
    )
    return message.saga, TaskResult.objects.get()


def test_a_failed_task_shows_its_traceback_and_leads_to_its_order(viewer, failed):
    order, task = failed
    address = reverse("admin:django_celery_results_taskresult_change", args=[task.pk])
    assert str(order) in viewer.get(address).content.decode()
    assert (
        reverse("admin:orders_order_change", args=[order])
        not in viewer.get(address).content.decode()
    )

    harness.order(id=order)
    page = viewer.get(address).content.decode()
    assert reverse("admin:orders_order_change", args=[order]) in page
    assert "Traceback: &lt;boom&gt;" in page


def test_a_task_chained_behind_a_failed_task_has_not_failed(failed):
    assert TaskResult.objects.values_list("task_name", flat=True).get() == "sagas.run_step"


def test_a_task_that_was_lost_with_its_worker_is_about_all_that_it_was_given():
    messages = [
        to_builtins(Message(id=uuid7(), saga=uuid7(), started_at=NOW, seq=1, context={}))
        for _ in range(2)
    ]
    fail(
        ValueError("its child was killed"),
        args=["payments.charge", {}, messages, []],
        task="sagas.run_step",
    )
    assert [str(order) for order in orders_of(TaskResult.objects.get())] == [
        one["saga"] for one in messages
    ]


@pytest.mark.parametrize(
    "arguments",
    [["orders"], [], ["x", {}, "no messages"], ["x", {}, [1, None]], ["x", {}, [{}, {"saga": 5}]]],
)
def test_a_task_about_no_order_names_none(whole, arguments):
    fail(ValueError("no luck"), args=arguments, task="sagas.run_step")
    task = TaskResult.objects.get()
    assert orders_of(task) == []
    page = whole.get(reverse("admin:django_celery_results_taskresult_change", args=[task.pk]))
    assert "none named" in page.content.decode()


def test_a_timeline_that_could_not_be_recorded_is_about_the_sagas_of_its_entries():
    saga = uuid7()
    fail(ValueError("no luck"), args=["orders", [{"saga": str(saga)}]], task="sagas.record")
    assert orders_of(TaskResult.objects.get()) == [saga]


def test_an_unknown_task_names_no_order():
    request = Bunch(
        name="sagas.of_another_release", chord=None, errbacks=None
    )  # all that Celery tells of one
    current_app.backend.mark_as_failure(
        "unknown", NotRegistered("sagas.of_another_release"), request=request
    )
    assert orders_of(TaskResult.objects.get()) == []


def test_failed_tasks_are_found_by_order(viewer, failed):
    order, task = failed
    TaskResult.objects.create(task_id="another", status="FAILURE")
    assert [row.pk for row in viewer.get(LIST, {"q": str(order)}).context["cl"].queryset] == [
        task.pk
    ]
    assert tasks_about(uuid7(), [], most=1) == []


def test_an_order_shows_the_traceback_of_its_last_failed_task(viewer):
    order = harness.order(needs_attention=True)
    for number in (1, 2):
        message = Message(id=uuid7(), saga=order.id, started_at=NOW, seq=1, context={})
        error = StepFailed(
            "payments.charge",
            [Failure(message=message, attempt=number, error=f"Boom{number}", isolated=True)],
        )
        fail(error, f"Traceback {number}: <boom>", args=[])
    page = viewer.get(reverse("admin:orders_order_change", args=[order.id])).content.decode()
    assert page.index("Traceback 2: &lt;boom&gt;") < page.index("Traceback 1: &lt;boom&gt;")


def test_failed_tasks_are_listed_and_found_by_the_id_of_the_row_and_of_the_task(viewer, failed):
    _, task = failed
    TaskResult.objects.create(task_id="another", status="FAILURE")
    (of_celery,) = json.loads(task.meta)["tasks"]
    for term in (task.task_id, of_celery):
        found = viewer.get(LIST, {"q": term}).context["cl"].queryset
        assert [row.pk for row in found] == [task.pk]


def test_an_order_that_a_row_no_longer_names_is_found_by_the_error_in_its_inbox(viewer):
    order = harness.order(needs_attention=True)
    error = "No answer within 3 s"
    Inbox.objects.create(
        saga=order.id,
        saga_started_at=order.created_at,
        step="payments.charge",
        state="waiting",
        attempts=2,
        error=error,
    )
    newest = [order.id, *(uuid7() for _ in range(MOST_NAMED))]
    for saga in newest:
        message = Message(id=uuid7(), saga=saga, started_at=NOW, seq=1, context={})
        failure = Failure(message=message, attempt=1, error=error, isolated=True)
        failed = StepFailed("payments.charge", [failure])
        fail(failed, "Traceback: <boom>", args=["payments.charge", {}, []], task="sagas.run_step")

    task = TaskResult.objects.get()
    assert order.id not in orders_of(task)
    found = viewer.get(LIST, {"q": str(order.id)}).context["cl"].queryset
    assert [row.pk for row in found] == [task.pk]
    page = viewer.get(reverse("admin:orders_order_change", args=[order.id])).content.decode()
    assert "Traceback: &lt;boom&gt;" in page
    assert f"{MOST_NAMED + 1} failed attempts" in page


def test_a_failure_of_an_older_release_is_one_attempt(whole):
    order = uuid7()
    task = TaskResult.objects.create(
        task_id="old", status="FAILURE", meta=json.dumps({"sagas": [str(order)], "children": []})
    )
    assert (count_of(task), orders_of(task)) == (1, [order])
    page = whole.get(reverse("admin:django_celery_results_taskresult_change", args=[task.pk]))
    assert page.status_code == 200


def test_a_failed_task_cannot_be_deleted(admin_client, failed):
    _, task = failed
    assert (
        admin_client.post(
            reverse("admin:django_celery_results_taskresult_delete", args=[task.pk])
        ).status_code
        == 403
    )


@pytest.mark.parametrize(
    ("app", "model"), [("knox", "AuthToken"), ("django_celery_results", "GroupResult")]
)
def test_tokens_and_group_results_have_no_page(app, model):
    assert not admin.site.is_registered(apps.get_model(app, model))
