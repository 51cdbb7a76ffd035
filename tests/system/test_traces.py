"""Each order has one trace through every step. The real exporter sends it over HTTP."""

import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from orders.models import Order
from orders.saga import PLACE_ORDER
from sagas.checks.registration import check_tracing
from sagas.observability import tracing
from tests.processes import api, until, worker
from tests.shop import FURTHER
from tests.system.harness import QUICK, ended, outcome, shop, system

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.slow,
]

__all__ = ["shop"]

STEPS = tuple(step.name for step in PLACE_ORDER.plan.actions)
SECRET = "pm_card_visa"


class Received:
    """The spans that the collector has received."""

    def __init__(self):
        self.spans = []
        self.environ = {}

    def spans_of(self, order):
        """Return the spans of an order by name."""
        found = defaultdict(list)
        for span in self.spans:
            if attribute(span, "saga.id") == order:
                found[span.name].append(span)
        return found

    def attempts_of(self, order, step):
        """Return the spans of a step's attempts, the first first. A duplicate of a message makes no
        attempt, so its span has no outcome.
        """
        spans = self.spans_of(order)[f"process {step}"]
        attempts = [span for span in spans if attribute(span, "saga.outcome")]
        return sorted(attempts, key=lambda span: span.start_time_unix_nano)

    def trace_ids_of(self, order):
        """Return the ids of the traces of an order."""
        return {span.trace_id for spans in self.spans_of(order).values() for span in spans}


def attribute(span, key):
    """Return an attribute of a span as text."""
    return next((found.value.string_value for found in span.attributes if found.key == key), "")


@pytest.fixture
def collector(monkeypatch):
    """Run a collector for OTLP over HTTP. The test's processes send their spans to it."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            sent = ExportTraceServiceRequest.FromString(
                self.rfile.read(int(self.headers["Content-Length"]))
            )
            received.spans += [
                span
                for resource in sent.resource_spans
                for scope in resource.scope_spans
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
        until(lambda: names <= set(collector.spans_of(order)), "all spans have arrived")
    [trace] = collector.trace_ids_of(order)
    spans = {name: of_name[0] for name, of_name in collector.spans_of(order).items()}
    posted = next(span for name, span in spans.items() if name.startswith("POST"))
    spans |= {f"process {step}": collector.attempts_of(order, step)[0] for step in STEPS}
    chain = [posted, *(spans[f"process {step}"] for step in STEPS)]
    for before, after in pairwise(chain):
        assert after.parent_span_id == before.span_id, (before.name, after.name)
    assert spans["call payments.charge"].parent_span_id == spans["process payments.charge"].span_id
    assert attribute(spans["process payments.charge"], "messaging.system") == "celery"
    assert attribute(spans["process payments.charge"], "saga.outcome") == "done"
    assert attribute(spans["send inventory.ship"], "messaging.destination.name") == "inventory"
    assert all(span.trace_id == trace for span in spans.values())
    assert not [span for span in collector.spans if SECRET in str(span)]


@pytest.mark.faults
def test_an_order_keeps_its_trace_if_a_worker_is_killed(place, collector):
    with api(environ=collector.environ) as (address, _):
        with worker("payments", *FURTHER, environ=collector.environ) as doomed:
            order = place(address, "killed")
            until(
                lambda: (
                    Order.objects.exists()
                    and "process payments.charge" in collector.spans_of(order)
                ),
                "the order is charged",
            )
            doomed.kill()
        with system(collector.environ) as workers:
            until(
                lambda: ended(order), "the order has ended", process=workers["payments"], limit=110
            )
            until(
                lambda: "process inventory.ship" in collector.spans_of(order),
                "the last span has arrived",
            )
    assert outcome(order) == ("fulfilled", "")
    assert len(collector.trace_ids_of(order)) == 1


@pytest.mark.faults
def test_an_order_keeps_its_trace_over_a_retry_with_a_span_for_each_attempt(place, collector):
    with api(environ=collector.environ) as (address, _), system(collector.environ) as workers:
        order = place(address, "again", method="pm_sim_timeout_lost")
        until(lambda: ended(order), "the order has ended", process=workers["payments"])
        until(
            lambda: "process inventory.ship" in collector.spans_of(order),
            "the last span has arrived",
        )
    assert len(collector.trace_ids_of(order)) == 1
    attempts = collector.attempts_of(order, "payments.charge")
    assert [attribute(span, "saga.outcome") for span in attempts] == ["unknown", "done"]
    assert attempts[1].parent_span_id == attempts[0].span_id


def test_the_trace_of_an_undone_order_includes_the_undo(place, collector):
    with api(environ=collector.environ) as (address, _), system(collector.environ) as workers:
        order = place(address, "greedy", sku="RARE", quantity=4)
        until(lambda: ended(order), "the order has ended", process=workers["payments"])
        until(
            lambda: "process orders.cancel" in collector.spans_of(order),
            "the last span has arrived",
        )
    assert len(collector.trace_ids_of(order)) == 1
    [reserve] = collector.attempts_of(order, "inventory.reserve")
    assert attribute(reserve, "saga.outcome") == "refused"


@pytest.mark.outside
def test_an_unreachable_collector_does_not_block_orders(place):
    environ = {
        **QUICK,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with api(environ=environ) as (address, _), system(environ) as workers:
        order = place(address, "untraced")
        until(lambda: ended(order), "the order has ended", process=workers["orders"])
    assert outcome(order) == ("fulfilled", "")


def test_tracing_is_off_without_an_endpoint():
    assert not tracing.is_configured()
    assert not tracing.is_on()


def test_the_system_check_warns_of_an_endpoint_without_the_exporter(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert check_tracing(None) == []
    monkeypatch.setattr(tracing, "find_spec", lambda name: None)
    [warning] = check_tracing(None)
    assert "opentelemetry-sdk" in (warning.hint or "")
    assert "[otel]" in (warning.hint or "")
