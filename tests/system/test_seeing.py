"""Log lines have the ids of order and request, and workers serve their metrics."""

import json

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from orders.models import Order
from orders.saga import PLACE_ORDER
from tests.processes import api, beat, until, worker
from tests.shop import FURTHER
from tests.system.harness import QUICK, SERVICES, ended, shop, system
from tools.local.ports import free_port

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.slow,
]

__all__ = ["shop"]

LOGGED = ("--logger-class", "config.logs.GunicornLogger", "--access-logfile", "-")


def lines(process, *texts):
    """Return the parsed log lines of a process that contain one of the texts."""
    return [
        json.loads(line)
        for line in process.output().splitlines()
        if any(text in line for text in texts)
    ]


def test_every_log_line_of_an_order_has_the_order_id_and_the_request_id(place):
    with api(*LOGGED, environ=QUICK) as (address, served), system() as workers:
        # The first charge request is lost, so the relay sends the step again from the inbox.
        first, second = (
            place(address, "req-1", method="pm_sim_timeout_lost"),
            place(address, "req-2", sku="RARE"),
        )
        until(lambda: ended(first, second), "both orders have ended", process=workers["payments"])
        request_of = {first: "req-1", second: "req-2"}
        for service in PLACE_ORDER.plan.services():
            found = lines(workers[service], first, second, "req-1", "req-2")
            assert {line["task"] for line in found} >= {"sagas.run_step"}
            for line in found:
                orders, requests = ids_in(line, "order_id"), ids_in(line, "request_id")
                assert orders, line
                assert {request_of[order] for order in orders} == set(requests), line
        [access] = lines(served, "req-1")
        assert (access["method"], access["path"], access["status"]) == (
            "POST",
            "/api/v1/orders/",
            201,
        )
        assert access["request_id"] == "req-1"


def ids_in(line, name):
    """Return the ids under a name of a log line, which holds one id or a list."""
    return [line[name]] if name in line else line.get(f"{name}s", [])


def test_a_worker_serves_the_metrics_of_itself_and_its_children(place):
    port = free_port()
    environ = {**QUICK, "METRICS_PORT": str(port), "OUTBOX_BATCH_SIZE": "10"}

    def scraped():
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        families = text_string_to_metric_families(text)
        return {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in families
            for sample in family.samples
        }

    with (
        api(environ=QUICK) as (address, _),
        worker(*SERVICES, environ=environ, concurrency=2) as process,
        beat(environ=QUICK),
    ):
        placed = [place(address, f"good-{number}") for number in range(5)]
        placed.append(place(address, "poor", method="pm_card_chargeDeclined"))
        placed.append(place(address, "lost", method="pm_sim_timeout_lost"))
        until(lambda: ended(*placed), "all orders have ended", process=process)
        until(
            lambda: ("saga_rescue_last_run_timestamp_seconds", "orders") in scraped(),
            "the redrive has run",
        )
        samples = scraped()
    assert {samples["saga_worker_queue", queue] for queue in SERVICES} == {1}
    assert samples["saga_step_outcomes_total", "done", "payments.charge"] == 6
    assert samples["saga_step_outcomes_total", "payments.charge", "refused"] == 1
    assert samples["saga_step_outcomes_total", "payments.charge", "unknown"] == 1
    assert samples["saga_step_outcomes_total", "done", "inventory.ship"] == 6
    assert samples["saga_duration_seconds_count", "orders", "stock.shipped"] == 6
    assert samples["saga_duration_seconds_count", "order.cancelled", "orders"] == 1
    assert samples["saga_step_batch_seconds_count", "payments.charge"] >= 2
    assert samples["saga_relay_batch_messages_sum", "inventory"] >= 12
    assert Order.objects.filter(status="fulfilled").count() == 6


def test_a_worker_whose_metrics_port_is_taken_still_runs_steps(place):
    port = free_port()
    environ = {**QUICK, "METRICS_PORT": str(port)}
    with (
        api(environ=QUICK) as (address, _),
        worker("orders", environ=environ),
        worker("payments", "inventory", *FURTHER, environ=environ) as second,
        beat(environ=QUICK),
    ):
        assert [line for line in lines(second, "METRICS_PORT") if line["level"] == "warning"]
        placed = place(address, "all-the-same")
        until(lambda: ended(placed), "the order has ended", process=second)
