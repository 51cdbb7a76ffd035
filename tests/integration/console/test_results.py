"""Tasks that failed: with their traceback, and a way to their orders; and what the console hides."""

import pytest
from django.apps import apps
from django.contrib import admin
from django.urls import reverse
from django_celery_results.models import TaskResult

from sagas.ids import uuid7

LIST = "/admin/django_celery_results/taskresult/"

pytestmark = pytest.mark.django_db


@pytest.fixture
def failed():
    """A task that failed for one order, as Celery keeps it."""
    order = uuid7()
    arguments = (
        f"\"('payments.charge', {{'saga': 'place_order'}}, [{{'id': '{uuid7()}', 'saga': '{order}', 'seq': 1}}])\""
    )
    told = {
        "task_name": "sagas.run_step",
        "status": "FAILURE",
        "result": '{"exc_type": "Boom"}',
        "traceback": "Traceback: <boom>",
    }
    return order, TaskResult.objects.create(task_id=str(uuid7()), task_args=arguments, **told)


def test_a_failed_task_shows_its_traceback_and_leads_to_its_order(viewer, failed):
    order, task = failed
    page = viewer.get(reverse("admin:django_celery_results_taskresult_change", args=[task.pk])).content.decode()
    assert reverse("admin:orders_order_change", args=[order]) in page
    assert "Traceback: &lt;boom&gt;" in page


def test_failed_tasks_are_listed_and_found_by_id(viewer, failed):
    _, task = failed
    TaskResult.objects.create(task_id="another", status="FAILURE")
    assert [row.pk for row in viewer.get(LIST, {"q": task.task_id}).context["cl"].queryset] == [task.pk]


def test_a_result_is_evidence_that_nobody_changes(admin_client, failed):
    _, task = failed
    assert (
        admin_client.post(reverse("admin:django_celery_results_taskresult_delete", args=[task.pk])).status_code == 403
    )


@pytest.mark.parametrize(("app", "model"), [("knox", "AuthToken"), ("django_celery_results", "GroupResult")])
def test_what_is_nobodys_business_has_no_page(app, model):
    assert not admin.site.is_registered(apps.get_model(app, model))
