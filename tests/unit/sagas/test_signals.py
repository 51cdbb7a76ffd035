"""The log context of a task, with valid and with invalid arguments."""

import pytest
from celery import signals
from structlog.contextvars import get_contextvars

from sagas.celery.tasks import run_step

MESSAGE = {"saga": "one", "headers": {"request_id": "r1"}}


@pytest.fixture
def bound():
    """Return a function that starts a step and returns its log context; check the cleanup."""

    def begin(messages):
        signals.task_prerun.send(
            sender=run_step, task_id="1", task=run_step, args=["payments.charge", {}, messages]
        )
        return get_contextvars()

    yield begin
    signals.task_postrun.send(sender=run_step, task_id="1", task=run_step)
    assert get_contextvars() == {}


def test_a_task_logs_its_sagas_and_the_requests_that_began_them(bound):
    assert bound([MESSAGE]) == {
        "task": "sagas.run_step",
        "task_id": "1",
        "sagas": ["one"],
        "request_ids": ["r1"],
    }


@pytest.mark.parametrize("headers", [None, "r1", ["r1"], {}])
def test_invalid_headers_give_no_request_id(bound, headers):
    assert bound([{"saga": "one", "headers": headers}])["request_ids"] == []


def test_invalid_messages_give_no_saga(bound):
    assert bound("no messages")["sagas"] == bound([1, None])["sagas"] == []
