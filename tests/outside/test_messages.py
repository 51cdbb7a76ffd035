"""Invalid messages are logged and do not block other messages. Messages of older and newer releases
are understood.
"""

from typing import Any

import pytest
from celery import current_app
from django_celery_results.models import TaskResult

from console.failures.tracebacks import with_task_id
from payments.models import Inbox
from sagas.delivery.task_signatures import task_signature
from tests.outside.captured_messages import capture, lose, send
from tests.processes import until
from tests.system.harness import order, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

FULFILLED = ("fulfilled", "")

BROKEN_ARGUMENTS: dict[str, list[Any]] = {
    "none": [],
    "too few": ["payments.charge"],
    "of wrong types": ["payments.charge", 7, {"neither": "list nor plan"}],
    "a message without an id": [
        "payments.charge",
        {"saga": "x", "steps": [], "abort": "orders.cancel"},
        [{}],
    ],
    "a step without a service": ["", {"saga": "x", "steps": [], "abort": "orders.cancel"}, []],
    "half a megabyte": ["payments.charge", "x" * 500_000, []],
}


def test_messages_with_invalid_arguments_are_stored_as_failures_and_orders_end(api_client, system):
    before = order(api_client, "before")
    sent = [
        current_app.send_task("sagas.run_step", args, queue="payments").id
        for args in BROKEN_ARGUMENTS.values()
    ]
    after = order(api_client, "after")
    until(
        lambda: all(with_task_id(task) for task in sent),
        "all failures are stored",
        process=system.workers[0],
    )
    system.wait_until_idle()
    assert [outcome(before), outcome(after)] == [FULFILLED, FULFILLED]


def test_an_unknown_task_is_stored_as_a_failure_and_orders_end(api_client, system):
    sent = current_app.send_task("sagas.of_another_release", ["x"], queue="payments").id
    after = order(api_client, "after")
    system.wait_for_output("sagas.of_another_release")
    system.wait_until_idle()
    assert outcome(after) == FULFILLED
    (key,) = with_task_id(sent)
    assert TaskResult.objects.get(pk=key).status == "FAILURE"


def test_a_body_with_invalid_json_is_logged_and_orders_end(api_client, system):
    with current_app.connection_for_write() as connection:
        connection.Producer().publish(
            b"{{{",
            routing_key="payments",
            content_type="application/json",
            content_encoding="utf-8",
            headers={"task": "sagas.run_step", "id": "broken", "lang": "py"},
        )

    after = order(api_client, "after")
    system.wait_for_output("{{{")
    system.wait_until_idle()
    assert outcome(after) == FULFILLED


def test_an_unknown_step_is_parked_and_its_order_ends(api_client, system):
    with capture() as messages:
        placed = order(api_client, "good")
        system.wait_until_idle()

    _, plan, batch, *_ = _charges(messages)[0].args
    newer_release = task_signature("run_step", "payments.gift_wrap", plan, batch, queue="payments")
    newer_release.link_error(
        task_signature("fail_step", "payments.gift_wrap", plan, batch, queue="payments")
    )
    newer_release.apply_async()
    parked = Inbox.objects.filter(step="payments.gift_wrap", state="waiting")
    until(parked.exists, "the message is parked", process=system.workers[0])
    assert "No process of this service knows the step" in parked.get().error
    assert outcome(placed) == FULFILLED
    parked.delete()
    system.wait_until_idle()


def older(args):
    """Remove the fields that have a default and that no step reads."""
    step, plan, (message,), *_ = args
    lines = [
        {"sku": line["sku"], "quantity": line["quantity"]} for line in message["context"]["lines"]
    ]
    needed = {name: message[name] for name in ("id", "saga", "started_at", "seq")}

    return [step, plan, [{**needed, "context": {**message["context"], "lines": lines}}]]


def newer(args):
    """Add fields that this release does not know."""
    step, plan, (message,), *_ = args
    context = {**message["context"], "gift": {"wrapped": True}}
    context["lines"] = [{**line, "colour": "blue"} for line in context["lines"]]
    steps = [{**step_of_plan, "deadline": 60} for step_of_plan in plan["steps"]]

    return [
        step,
        {**plan, "steps": steps, "priority": 3},
        [{**message, "context": context, "tenant": "ada"}],
    ]


@pytest.mark.usefixtures("steps_of_the_shop")
@pytest.mark.parametrize("shape", [older, newer])
def test_events_of_another_release_are_understood(api_client, system, shape):
    with capture() as messages, system.suspended():
        placed = order(api_client, "good")
        until(lambda: _charges(messages), "the charge is sent")
        (charge,) = lose("payments.charge", messages)
        send(charge.with_args(shape(charge.args)))

    system.wait_until_idle()
    assert outcome(placed) == FULFILLED


@pytest.mark.usefixtures("steps_of_the_shop")
def test_an_order_with_an_unreadable_message_continues_with_the_senders_copy(api_client, system):
    with capture() as messages, system.suspended():
        broken, whole = order(api_client, "broken"), order(api_client, "whole")
        until(
            lambda: sum(len(sent.args[2]) for sent in _charges(messages)) == 2,
            "both charges are sent",
        )

        for charge in lose("payments.charge", messages):
            step, plan, batch, *_ = charge.args
            changed = [_without_amount(message, order_id=broken) for message in batch]
            send(charge.with_args([step, plan, changed]))

    unread = Inbox.objects.filter(
        saga=broken, step="payments.charge", error__contains="cannot read"
    )
    until(unread.exists, "the inbox row shows the error", process=system.workers[0])
    system.wait_until_idle()
    assert [outcome(broken), outcome(whole)] == [FULFILLED, FULFILLED]


def _without_amount(message, *, order_id):
    context = {name: value for name, value in message["context"].items() if name != "amount"}
    return {**message, "context": context} if message["saga"] == order_id else message


def _charges(messages):
    return [
        sent
        for sent in messages
        if sent.task == "sagas.run_step" and sent.args[0] == "payments.charge"
    ]
