"""What a task's arguments say of sagas, whatever they are."""

import pytest

from sagas.celery.task_args import messages_from_args

MESSAGE = {"saga": "one"}


@pytest.mark.parametrize(
    ("task", "args"),
    [
        ("sagas.run_step", ["payments.charge", {}, [MESSAGE], []]),
        ("sagas.fail_step", ("payments.charge", {}, [MESSAGE])),
        ("sagas.record", ["orders", [MESSAGE]]),
    ],
)
def test_messages_stand_where_their_task_has_them(task, args):
    assert messages_from_args(task, args) == [MESSAGE]


@pytest.mark.parametrize(
    ("task", "args"),
    [
        (None, None),
        ("sagas.of_another_release", ["payments.charge", {}, [MESSAGE]]),
        ("sagas.flush", ["orders"]),
        ("sagas.run_step", None),
        ("sagas.run_step", 5),
        ("sagas.run_step", []),
        ("sagas.run_step", ["payments.charge", {}]),
        ("sagas.run_step", ["payments.charge", {}, "no messages"]),
        ("sagas.run_step", ["payments.charge", {}, MESSAGE]),
        ("sagas.run_step", ["payments.charge", {}, None]),
        ("sagas.record", ["orders", 1, [MESSAGE]]),
    ],
)
def test_where_there_are_none_none_are_found(task, args):
    assert messages_from_args(task, args) == []


def test_what_is_no_message_among_them_is_left_out():
    assert messages_from_args("sagas.run_step", ["x", {}, [1, None, MESSAGE, [MESSAGE]]]) == [
        MESSAGE
    ]
