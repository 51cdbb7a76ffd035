"""`/metrics` for Prometheus: what the databases and the broker say at this moment, whichever
process is asked.

Each section is asked on its own, within a limit: one that is down or hangs is missing, and its
gauge says so. What the workers observe while they work is served by the workers
(`sagas.observability.prometheus`).
"""

import hmac
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from api.asking import ask
from sagas.delivery import queues
from sagas.operations import table_stats
from sagas.storage.registry import get_home, get_service, home_names, service_names

__all__ = ["gauge", "metrics", "section"]

# Seconds for all sections together; Prometheus gives a scrape ten.
LIMIT = 2.0

# Seconds for which an answer serves whoever asks: two Prometheus servers cost as much as one.
KEPT = 1.0

Section = Callable[[], Iterable[Metric]]

_sections: dict[str, Section] = {}


def section(name: str) -> Callable[[Section], Section]:
    """Register what an app's `metrics` module adds. It is asked in a thread, and may raise."""

    def register(ask_it: Section) -> Section:
        _sections[name] = ask_it
        return ask_it

    return register


def gauge(name: str, documentation: str, **labels: str) -> Callable[[float], Metric]:
    """Return a way to make a gauge with these labels of a value."""

    def make(value: float) -> Metric:
        family = GaugeMetricFamily(name, documentation, labels=list(labels))
        family.add_metric(list(labels.values()), value)
        return family

    return make


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer in Prometheus's text format, or OpenMetrics where that is asked for. Never an error
    of a section's.
    """
    if not _may_read(request):
        return HttpResponse(status=HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_snapshots)
    return HttpResponse(encode(registry), content_type=content_type)


class _Snapshots(Collector):
    """The last answer, shared by all who ask within `KEPT` seconds; one at a time makes a new
    one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken_at = -KEPT
        self._families: list[Metric] = []

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            if time.monotonic() - self._taken_at >= KEPT:
                self._families = _take()
                self._taken_at = time.monotonic()
            return self._families


_snapshots = _Snapshots()


def _may_read(request: HttpRequest) -> bool:
    if not settings.METRICS_TOKEN:
        return True
    given = request.headers.get("Authorization", "")
    return hmac.compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode())


def _take() -> list[Metric]:
    sections = {**_of_engine(), **_sections}
    questions = {f"metrics of {name}": partial(_listed, asked) for name, asked in sections.items()}
    answers = ask(questions, seconds=LIMIT)
    up = GaugeMetricFamily(
        "saga_metrics_section_up", "Whether a section answered in time.", labels=["section"]
    )
    for name in sections:
        up.add_metric([name], float(f"metrics of {name}" in answers))
    return [up, *_merged(family for families in answers.values() for family in families)]


def _listed(asked: Section) -> list[Metric]:
    return list(asked())


def _merged(families: Iterable[Metric]) -> list[Metric]:
    """Join families of one name: the format wants all samples of a name together."""
    merged: dict[str, Metric] = {}
    for family in families:
        if family.name in merged:
            merged[family.name].samples.extend(family.samples)
        else:
            merged[family.name] = family
    return list(merged.values())


def _of_engine() -> dict[str, Section]:
    services, homes = service_names(), home_names()
    return {
        **{f"{name} messages": partial(_messages, name) for name in services},
        **{f"{name} sagas": partial(_sagas, name) for name in homes},
        "broker": partial(_queues, services),
    }


def _messages(name: str) -> Iterator[Metric]:
    service = get_service(name)
    outbox = table_stats.outbox_rows(service)
    rows = "Rows of the outbox that are not published: due, or leased by whoever sends them."
    yield gauge("saga_outbox_rows", rows, service=name, state="due")(outbox.due)
    yield gauge("saga_outbox_rows", rows, service=name, state="leased")(outbox.leased)
    age = "Seconds since the oldest row of the outbox that is not published was written; 0 if there is none."
    yield gauge("saga_outbox_oldest_seconds", age, service=name)(outbox.oldest_seconds)
    for held in table_stats.holds_of(service):
        if held.step:
            since = "Since when a step is on hold for all sagas."
            yield gauge("saga_step_hold_seconds", since, service=name, step=held.step)(
                held.oldest_seconds
            )
        else:
            yield gauge("saga_holds", "Sagas that are on hold by themselves.", service=name)(
                held.number
            )
            age_of_hold = "Since when the first of them is on hold."
            yield gauge("saga_hold_oldest_seconds", age_of_hold, service=name)(held.oldest_seconds)
    for inbox in table_stats.inbox_rows(service):
        labels = {"service": name, "step": inbox.step, "state": inbox.state}
        yield gauge("saga_inbox_open_rows", "Steps begun and not finished.", **labels)(inbox.rows)
        yield gauge("saga_inbox_oldest_seconds", "Age of the oldest open step.", **labels)(
            inbox.oldest_seconds
        )


def _sagas(name: str) -> Iterator[Metric]:
    found = table_stats.sagas_of(get_home(name))
    yield gauge("saga_open", "Sagas that have not ended.", home=name)(found.open)
    yield gauge("saga_stalled", "Open sagas that are due for a re-drive.", home=name)(found.stalled)
    yield gauge("saga_redriven", "Open sagas re-driven since they last moved.", home=name)(
        found.redriven
    )
    oldest = "Age of the oldest open saga that is not on hold."
    yield gauge("saga_open_oldest_seconds", oldest, home=name)(found.oldest_seconds)
    yield gauge(
        "saga_on_hold", "Open sagas that are on hold, or wait at a step that is.", home=name
    )(found.on_hold)


def _queues(services: list[str]) -> Iterator[Metric]:
    for queue, messages in queues.lengths(services).items():
        yield gauge("saga_queue_messages", "Messages that wait in the broker.", queue=queue)(
            messages
        )
