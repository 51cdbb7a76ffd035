"""Each order has one trace, from the POST through every step, sent by the real exporter over HTTP."""

import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from orders.models import Order
from sagas.checks import check_tracing
from sagas.observability import tracing
from tests.processes import api, until, worker
from tests.system.harness import QUICK, ended, outcome, shop, system

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

__all__ = ["shop"]

STEPS = ("payments.charge", "inventory.reserve", "orders.fulfil", "inventory.ship")
SECRET = "pm_card_visa"


class Received:
    """The spans that the collector has received."""

    def __init__(self):
        self.spans = []
        self.environ = {}

    def of(self, order):
        """Return the spans of an order by name."""
        found = defaultdict(list)
        for span in self.spans:
            if attribute(span, "saga.id") == order:
                found[span.name].append(span)
        return found

    def traces(self, order):
        """Return the ids of the traces of an order."""
        return {span.trace_id for spans in self.of(order).values() for span in spans}


def attribute(span, key):
    """Return an attribute of a span as text."""
    return next((one.value.string_value for one in span.attributes if one.key == key), "")


@pytest.fixture
def collector(monkeypatch):
    """A receiver of OTLP over HTTP, to which the processes of the test send their spans."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            sent = ExportTraceServiceRequest.FromString(
                self.rfile.read(int(self.headers["Content-Length"]))
            )
            received.spans += [
                span
                for of in sent.resource_spans
                for scope in of.scope_spans
                for span in scope.spans
            ]
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    received.environ = {
        **QUICK,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    yield received
    server.shutdown()
    server.server_close()


def test_one_trace_from_the_post_through_every_step(place, collector):
    with api(environ=collector.environ) as (address, _), system(collector.environ) as workers:
        order = place(address, "traced")
        until(lambda: ended(order), "the order has ended", process=workers["orders"])
        names = (
            {f"process {step}" for step in STEPS}
            | {f"send {step}" for step in STEPS}
            | {"call payments.charge"}
        )
        until(lambda: names <= set(collector.of(order)), "all spans have arrived")
    [trace] = collector.traces(order)
    spans = {name: of_name[0] for name, of_name in collector.of(order).items()}
    posted = next(span for name, span in spans.items() if name.startswith("POST"))
    chain = [posted, *(spans[f"process {step}"] for step in STEPS)]
    for before, after in pairwise(chain):
        assert after.parent_span_id == before.span_id, (before.name, after.name)
    assert spans["call payments.charge"].parent_span_id == spans["process payments.charge"].span_id
    assert attribute(spans["process payments.charge"], "messaging.system") == "celery"
    assert attribute(spans["process payments.charge"], "saga.outcome") == "done"
    assert attribute(spans["send inventory.ship"], "messaging.destination.name") == "inventory"
    assert all(span.trace_id == trace for span in spans.values())
    assert not [span for span in collector.spans if SECRET in str(span)]


def test_the_trace_outlives_a_worker_that_is_killed(place, collector):
    with api(environ=collector.environ) as (address, _):
        with worker("payments", environ=collector.environ) as doomed:
            order = place(address, "killed")
            until(
                lambda: Order.objects.exists() and "process payments.charge" in collector.of(order),
                "it is charged",
            )
            doomed.kill()
        with system(collector.environ) as workers:
            until(
                lambda: ended(order), "the order has ended", process=workers["payments"], limit=110
            )
            until(
                lambda: "process inventory.ship" in collector.of(order), "the last span has arrived"
            )
    assert outcome(order) == ("fulfilled", "")
    assert len(collector.traces(order)) == 1


def test_the_trace_outlives_a_retry_and_shows_each_try(place, collector):
    with api(environ=collector.environ) as (address, _), system(collector.environ) as workers:
        order = place(address, "again", method="pm_sim_timeout_lost")
        until(lambda: ended(order), "the order has ended", process=workers["payments"])
        until(lambda: "process inventory.ship" in collector.of(order), "the last span has arrived")
    assert len(collector.traces(order)) == 1
    tries = sorted(
        collector.of(order)["process payments.charge"], key=lambda span: span.start_time_unix_nano
    )
    assert [attribute(span, "saga.outcome") for span in tries] == ["unknown", "done"]
    assert tries[1].parent_span_id == tries[0].span_id


def test_an_order_that_is_undone_is_traced_all_the_way_back(place, collector):
    with api(environ=collector.environ) as (address, _), system(collector.environ) as workers:
        order = place(address, "greedy", sku="RARE", quantity=4)
        until(lambda: ended(order), "the order has ended", process=workers["payments"])
        until(lambda: "process orders.cancel" in collector.of(order), "the last span has arrived")
    assert len(collector.traces(order)) == 1
    [reserve] = collector.of(order)["process inventory.reserve"]
    assert attribute(reserve, "saga.outcome") == "refused"


def test_a_collector_that_is_away_holds_up_no_order(place):
    environ = {
        **QUICK,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with api(environ=environ) as (address, _), system(environ) as workers:
        order = place(address, "unseen")
        until(lambda: ended(order), "the order has ended", process=workers["orders"])
    assert outcome(order) == ("fulfilled", "")


def test_without_an_address_nothing_is_traced():
    assert not tracing.is_configured()
    assert not tracing.is_on()


def test_an_address_without_the_extra_is_told_at_the_start(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert check_tracing(None) == []
    monkeypatch.setattr(tracing, "find_spec", lambda name: None)
    [warning] = check_tracing(None)
    assert "requirements-otel.txt" in (warning.hint or "")
