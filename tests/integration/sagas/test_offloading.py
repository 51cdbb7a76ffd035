"""In a worker, work that asks outside systems runs in a thread, and its task ends at once."""

import threading
import time

import pytest
from celery import current_app
from django.db import connections
from django_celery_results.models import TaskResult

from sagas import workers
from sagas.execution import in_flight, offloading
from tests.processes import LIMIT, until

pytestmark = pytest.mark.django_db(transaction=True)


class Work:
    """Work that waits until it may end."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.ended = 0

    def __call__(self):
        self.begun.release()
        assert self.may_end.acquire(timeout=LIMIT)
        self.ended += 1


@pytest.fixture
def in_worker(monkeypatch):
    monkeypatch.setattr(in_flight, "takes_calls", lambda: True)
    yield
    offloading.stop(LIMIT)


@pytest.fixture
def run_task():
    """Return a function that runs a task with some work, and returns its result."""

    def run(work, name="tests.ask"):
        @current_app.task(name=name, bind=True, shared=False, lazy=False)
        def ask(self):
            workers.offload(self, work)

        try:
            return ask.apply(throw=True)
        finally:
            current_app.tasks.pop(ask.name)

    return run


def test_elsewhere_the_work_runs_in_the_task(run_task):
    done = []
    run_task(lambda: done.append(threading.current_thread()))
    assert done == [threading.current_thread()]
    with pytest.raises(ZeroDivisionError):
        run_task(lambda: 1 / 0)


def test_in_a_worker_the_task_ends_before_its_work(in_worker, run_task):
    work = Work()
    assert run_task(work).state == "SUCCESS"
    assert work.begun.acquire(timeout=LIMIT)
    assert work.ended == 0
    work.may_end.release()
    until(lambda: work.ended == 1, "the work ends")


def test_work_that_waits_is_not_queued_twice_and_work_that_runs_runs_again(in_worker, run_task):
    work = Work()
    run_task(work)
    assert work.begun.acquire(timeout=LIMIT)
    for _ in range(3):
        run_task(work)
    work.may_end.release(3)
    until(lambda: work.ended == 2, "the work has run again")
    offloading.stop(LIMIT)
    assert work.ended == 2


def test_the_works_of_a_process_run_one_at_a_time(in_worker, run_task):
    first, second = Work(), Work()
    run_task(first, "tests.first")
    assert first.begun.acquire(timeout=LIMIT)
    run_task(second, "tests.second")
    assert not second.begun.acquire(blocking=False)
    first.may_end.release()
    assert second.begun.acquire(timeout=LIMIT)
    assert first.ended == 1
    second.may_end.release()


@pytest.fixture
def short_limit():
    """Let a task take a millisecond at most."""
    longest = current_app.conf.task_time_limit
    current_app.conf.update(task_time_limit=0.001)
    yield
    current_app.conf.update(task_time_limit=longest)


def test_other_work_goes_on_if_one_never_ends(in_worker, run_task, short_limit, caplog):
    stuck, work = Work(), Work()
    run_task(stuck, "tests.stuck")
    assert stuck.begun.acquire(timeout=LIMIT)
    started = time.monotonic()
    until(lambda: time.monotonic() > started + 0.001, "its time is over")
    work.may_end.release()
    run_task(work)
    until(lambda: work.ended == 1, "the other work has run")
    assert "The work of tests.stuck takes longer than a task may" in caplog.text

    for _ in range(3):
        run_task(stuck, "tests.stuck")
    assert not stuck.begun.acquire(blocking=False), "it is not begun twice at once"
    stuck.may_end.release(2)
    until(lambda: stuck.ended == 2, "the late work ends, and runs again")


def test_an_error_of_the_database_driver_ends_no_thread(in_worker, run_task, monkeypatch, caplog):
    def broken():
        raise OSError("The socket is gone.")

    work = Work()
    work.may_end.release(2)
    with monkeypatch.context() as patched:
        patched.setattr(connections, "close_all", broken)
        run_task(work)
        until(lambda: "tests.ask has failed" in caplog.text, "the error is logged")
    run_task(work)
    until(lambda: work.ended == 2, "the work runs again")


@pytest.mark.parametrize("error", [SystemExit(1), RuntimeError("The gateway is gone.")])
def test_no_error_ends_the_thread(in_worker, run_task, monkeypatch, caplog, error):
    """Neither an error of the work nor one of the list of failed tasks."""

    def fail():
        raise error

    def unreachable(*args, **kwargs):
        raise OSError("The database of results is gone.")

    monkeypatch.setattr(type(current_app.backend), "mark_as_failure", unreachable)
    work = Work()
    run_task(work, "tests.ask")
    assert work.begun.acquire(timeout=LIMIT)
    run_task(fail, "tests.fail")
    run_task(work, "tests.ask")
    work.may_end.release(2)
    until(lambda: work.ended == 2, "the work behind the failure has run")
    assert "tests.fail has failed, and the list of failed tasks lacks it" in caplog.text


def test_an_error_is_logged_and_stored_as_the_failure_of_the_task(in_worker, run_task, caplog):
    def fail():
        raise RuntimeError("The gateway is gone.")

    run_task(fail)
    until(TaskResult.objects.exists, "it is stored")
    stored = TaskResult.objects.get(task_name="tests.ask")
    assert (stored.status, "The gateway is gone." in stored.result) == ("FAILURE", True)
    assert "fail()" not in stored.traceback
    assert "in fail" in stored.traceback
    assert "The work of task tests.ask failed" in caplog.text


def test_a_process_that_stops_waits_for_the_work_that_runs_and_begins_no_other(
    in_worker, run_task, caplog
):
    work, waiting = Work(), Work()
    run_task(work, "tests.ask")
    assert work.begun.acquire(timeout=LIMIT)
    run_task(waiting, "tests.waiting")
    offloading.stop(0.0)
    assert "This process ends before tests.ask" in caplog.text
    work.may_end.release()
    offloading.stop(LIMIT)
    assert (work.ended, waiting.begun.acquire(blocking=False)) == (1, False)
