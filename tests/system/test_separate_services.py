"""Workers complete every saga although each can reach only its own service's database."""

from contextlib import ExitStack
from functools import partial

import pytest
from celery import current_app
from django_celery_results.models import TaskResult

from payments.models import Inbox
from services import ALIASES, VARIABLES
from tests.processes import beat, until, worker
from tests.system.harness import QUICK, SERVICES, assert_sound, ended, net, order, outcome, shop

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.slow,
]

__all__ = ["shop"]


def only_service(service):
    """Return the environment of a process of one service, without the other databases' URLs."""
    others = {variable: "" for alias, variable in VARIABLES.items() if alias != ALIASES[service]}
    return {**QUICK, **others, "SERVICES": service}


@pytest.fixture
def workers():
    with ExitStack() as stack:
        stack.enter_context(beat(environ=only_service("orders")))
        yield {
            service: stack.enter_context(worker(service, environ=only_service(service)))
            for service in SERVICES
        }


def has_logged(process, text):
    return text in process.output()


def test_each_kind_of_order_reaches_its_expected_end(api_client, workers):
    placed = [
        order(api_client, "good"),
        order(api_client, "poor", method="pm_card_chargeDeclined"),
        order(api_client, "greedy", sku="RARE", quantity=4),
        order(api_client, "lost-answer", method="pm_sim_timeout_lost"),
    ]
    until(lambda: ended(*placed), "all orders have ended", process=workers["payments"])
    assert [outcome(order_id)[0] for order_id in placed] == [
        "fulfilled",
        "cancelled",
        "cancelled",
        "fulfilled",
    ]
    assert [net(order_id) for order_id in placed] == [1_000, 0, 0, 1_000]
    assert_sound()


def test_a_task_of_another_service_is_refused_and_other_tasks_run(api_client, workers):
    """Only workers of orders store failures, in their database. Others log and count them."""
    process = workers["payments"]
    current_app.send_task("sagas.flush", ["orders"], queue="payments")
    until(
        partial(has_logged, process, "DATABASE_URL is not set"),
        "the flush is refused",
        process=process,
    )
    for _ in range(3):  # more than the worker has prefetch slots
        failed = current_app.send_task("sagas.run_step", ["payments.charge"], queue="payments").id
        logged = f"task {failed} has become FAILURE"
        until(partial(has_logged, process, logged), "the failure is logged", process=process)
    placed = order(api_client, "good")
    until(lambda: ended(placed), "the order has ended", process=process)
    assert not TaskResult.objects.exists()
    assert Inbox.objects.get(saga=placed).state == "done"
    assert_sound()
