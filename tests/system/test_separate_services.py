"""Workers that have the database of their own service alone complete every saga."""

from contextlib import ExitStack
from functools import partial

import pytest
from celery import current_app
from django_celery_results.models import TaskResult

from config.databases import ALIASES, VARIABLES
from payments.models import Inbox
from tests.processes import beat, until, worker
from tests.system.harness import QUICK, SERVICES, assert_sound, ended, net, order, outcome, shop

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

__all__ = ["shop"]


def alone(service):
    """Return the environment of a process that serves one service, without the other addresses."""
    others = {variable: "" for alias, variable in VARIABLES.items() if alias != ALIASES[service]}
    return {**QUICK, **others, "SERVICES": service}


@pytest.fixture
def workers():
    with ExitStack() as stack:
        stack.enter_context(beat(environ=alone("orders")))
        yield {
            service: stack.enter_context(worker(service, environ=alone(service)))
            for service in SERVICES
        }


def says(process, text):
    return text in process.output()


def test_orders_end_as_they_should(api_client, workers):
    placed = [
        order(api_client, "good"),
        order(api_client, "poor", method="pm_card_chargeDeclined"),
        order(api_client, "greedy", sku="RARE", quantity=4),
        order(api_client, "unheard", method="pm_sim_timeout_lost"),
    ]
    until(lambda: ended(*placed), "all orders have ended", process=workers["payments"])
    assert [outcome(one)[0] for one in placed] == [
        "fulfilled",
        "cancelled",
        "cancelled",
        "fulfilled",
    ]
    assert [net(one) for one in placed] == [1_000, 0, 0, 1_000]
    assert_sound()


def test_what_reaches_for_another_service_is_refused_and_the_rest_goes_on(api_client, workers):
    """Celery's failures are stored in the database of orders. Other workers log and count their
    own.
    """
    process = workers["payments"]
    current_app.send_task("sagas.flush", ["orders"], queue="payments")
    until(
        partial(says, process, "DATABASE_URL is not set"), "the flush is refused", process=process
    )
    for _ in range(3):  # more than the worker has places to lose
        failed = current_app.send_task("sagas.run_step", ["payments.charge"], queue="payments").id
        logged = f"task {failed} has become FAILURE"
        until(partial(says, process, logged), "it is logged", process=process)
    placed = order(api_client, "good")
    until(lambda: ended(placed), "the order has ended", process=process)
    assert not TaskResult.objects.exists()
    assert Inbox.objects.get(saga=placed).state == "done"
    assert_sound()
