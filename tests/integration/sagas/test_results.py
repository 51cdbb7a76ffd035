"""The result backend counts failures by step and error, and raises nothing if it cannot."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
from celery import current_app
from celery.app.task import Context
from django.db import connection, connections
from django.utils import timezone
from django_celery_results.models import TaskResult

from sagas import sql
from sagas.celery.result_backend import MOST_NAMED, TRACEBACK_LENGTH
from sagas.definition.messages import Message
from sagas.execution.failures import Failure, StepFailed
from sagas.ids import uuid7
from tests.plugin import running
from tools.local.ports import free_port

pytestmark = pytest.mark.django_db(transaction=True)


def store(task_id="lost"):
    return current_app.backend.store_result(task_id, ValueError("its child was killed"), "RETRY")


def message(saga=None):
    return Message(id=uuid7(), saga=saga or uuid7(), started_at=timezone.now(), seq=1, context={})


def step_failed(*errors, sagas=None):
    failures = [
        Failure(message=message(saga), attempt=1, error=error, isolated=True)
        for error, saga in zip(errors, sagas or [None] * len(errors), strict=True)
    ]
    return StepFailed("payments.charge", failures)


def fail(error, *, traceback="Traceback: boom", args=("payments.charge", {}, []), **request):
    task_id = str(uuid7())
    context = Context(id=task_id, task="sagas.run_step", args=list(args), **request)
    current_app.backend.mark_as_failure(task_id, error, traceback, request=context)
    return task_id


def meta():
    return json.loads(TaskResult.objects.get().meta)


def end_own_session():
    """End this process's session, as a restart of PostgreSQL does. The client does not notice."""
    with psycopg.connect(running().postgres.superuser_url, autocommit=True) as session:
        session.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])


def table_size():
    with connection.cursor() as cursor:
        cursor.execute("VACUUM FULL django_celery_results_taskresult")
        cursor.execute("SELECT pg_total_relation_size('django_celery_results_taskresult')")
        return cursor.fetchone()[0]


def test_a_failure_is_stored():
    store()
    assert TaskResult.objects.get().status == "RETRY"


def test_a_failure_is_stored_on_a_new_connection_if_the_old_one_is_dead():
    connection.ensure_connection()
    end_own_session()
    store()
    assert TaskResult.objects.get().status == "RETRY"


def test_a_failure_that_cannot_be_stored_raises_nothing(monkeypatch, caplog):
    connection.close()
    with monkeypatch.context() as patched:
        patched.setitem(connection.settings_dict, "PORT", free_port())
        store()
    assert "Could not store that task lost has become RETRY" in caplog.text
    assert TaskResult.objects.count() == 0


def test_a_thousand_stuck_sagas_with_five_attempts_each_are_one_row_for_each_error():
    stuck = [uuid7() for _ in range(1_000)]
    traceback = "Traceback: \n" + "  in a frame of the stack\n" * 1_000
    empty = table_size()

    for attempt in range(5):
        for start in range(0, len(stuck), 10):
            sagas = stuck[start : start + 10]
            errors = [
                f"no answer in {attempt}.{number} s" if number % 2 else f"ch_{saga.hex} is lost"
                for number, saga in enumerate(sagas)
            ]
            fail(step_failed(*errors, sagas=sagas), traceback=traceback)

    rows = TaskResult.objects.order_by("result")
    assert [json.loads(row.meta)["count"] for row in rows] == [2_500, 2_500]
    assert table_size() - empty < 100_000  # bytes


def test_workers_that_fail_at_the_same_moment_are_all_counted():
    def of_one_worker(_):
        for _ in range(25):
            fail(step_failed("Boom", "Boom"))
        connections.close_all()

    with ThreadPoolExecutor(8) as workers:
        list(workers.map(of_one_worker, range(8)))
    assert meta()["count"] == 8 * 25 * 2


def test_a_task_with_several_errors_counts_for_each_of_them():
    sagas = [uuid7() for _ in range(3)]
    fail(step_failed("lost 1", "refused", "lost 2", sagas=sagas))
    found = {row.result: json.loads(row.meta) for row in TaskResult.objects.all()}
    assert sorted((each["count"], each["sagas"]) for each in found.values()) == [
        (1, [str(sagas[1])]),
        (2, [str(sagas[0]), str(sagas[2])]),
    ]


def test_a_row_names_the_newest_sagas_and_tasks_once_each():
    first, second = uuid7(), uuid7()
    tasks = [fail(step_failed("Boom", sagas=[saga])) for saga in (first, second, first)]
    assert meta()["sagas"] == [str(first), str(second)]
    assert meta()["tasks"] == tasks[::-1]

    others = [uuid7() for _ in range(MOST_NAMED)]
    fail(step_failed(*["Boom"] * MOST_NAMED, sagas=others))
    assert meta()["sagas"] == [str(saga) for saga in others]
    assert (meta()["count"], meta()["step"]) == (3 + MOST_NAMED, "payments.charge")


def test_a_row_keeps_the_first_and_the_last_time_and_the_last_traceback():
    fail(step_failed("Boom 1"), traceback="first")
    (first,) = TaskResult.objects.values()
    fail(step_failed("Boom 2"), traceback="second", hostname="worker@two")
    (last,) = TaskResult.objects.values()
    assert (last["id"], last["date_created"]) == (first["id"], first["date_created"])
    assert last["date_done"] > first["date_done"]
    assert (last["traceback"], last["worker"]) == ("second", "worker@two")
    assert "Boom 2" in last["result"]


@pytest.mark.parametrize(
    "text", ["x" * 5_000_000, "\x00 nothing", "\ud800 half a character", "%(id)s", "\\u0000"]
)
def test_any_error_is_stored_within_bounds(text, caplog):
    fail(
        ValueError(text),
        traceback=text,
        args=[text, text, [{"saga": text}]],
        argsrepr=text,
        kwargsrepr=text,
        hostname=text,
    )
    row = TaskResult.objects.get()
    size = sum(len(str(getattr(row, field.name))) for field in row._meta.fields)
    assert size < TRACEBACK_LENGTH + 20_000
    assert "Could not store" not in caplog.text


def test_failures_are_deleted_in_batches_a_month_after_the_last_one(monkeypatch):
    monkeypatch.setattr(sql, "DELETED_AT_ONCE", 3)
    monkeypatch.setattr(current_app.backend, "expires", 3600)
    old = timezone.now() - timedelta(hours=2)
    for number in range(7):
        TaskResult.objects.create(task_id=f"old {number}", status="FAILURE")
    TaskResult.objects.update(date_done=old, date_created=old)
    fail(step_failed("Boom"))
    TaskResult.objects.filter(meta__contains="payments.charge").update(date_created=old)

    deletes = Deletes()
    with connection.execute_wrapper(deletes):
        current_app.backend.cleanup()
    assert deletes.sizes == [3, 3, 1, 0]
    assert meta()["count"] == 1


class Deletes:
    """Collects how many rows each DELETE removes."""

    def __init__(self):
        self.sizes = []

    def __call__(self, execute, sql, params, many, context):
        result = execute(sql, params, many, context)
        if sql.startswith("\nDELETE"):
            self.sizes.append(context["cursor"].rowcount)
        return result
