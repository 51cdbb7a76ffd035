"""Messages are found in the arguments of any task, valid or not."""

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
def test_messages_are_found_at_their_position(task, args):
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
def test_no_messages_are_found_in_other_arguments(task, args):
    assert messages_from_args(task, args) == []


def test_items_that_are_no_messages_are_ignored():
    assert messages_from_args("sagas.run_step", ["x", {}, [1, None, MESSAGE, [MESSAGE]]]) == [
        MESSAGE
    ]
