"""`/metrics` for Prometheus: the current state of the databases and the broker.

Every process gives the same answer. Each section is collected on its own, within a time limit: a
section that fails or hangs is missing, and its `saga_metrics_section_up` is 0. The workers serve
their own observations (`sagas.contrib.prometheus`).
"""

import hmac
import threading
import time
from collections.abc import Iterable
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

from api.monitoring.engine_metrics import engine_sections
from api.monitoring.sections import Section, gauge, registered_sections
from sagas.observability.probes import gather

__all__ = ["metrics"]

# Seconds for all sections together; Prometheus gives a scrape ten.
LIMIT = 2.0

# Seconds for which one snapshot serves all scrapes: two Prometheus servers cost as much as one.
KEPT = 1.0


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer in Prometheus's text format, or in OpenMetrics if the client asks for it."""
    if not _may_read(request):
        return HttpResponse(status=HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})

    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_snapshots)
    return HttpResponse(encode(registry), content_type=content_type)


class _Snapshots(Collector):
    """The latest snapshot, shared by all scrapes within `KEPT` seconds.

    Only one request at a time takes a new one.
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
    sections = {**engine_sections(), **registered_sections()}
    probes = {
        f"metrics of {name}": partial(_collect, section) for name, section in sections.items()
    }
    collected = gather(probes, seconds=LIMIT)

    up = GaugeMetricFamily(
        "saga_metrics_section_up", "Whether a section answered in time.", labels=["section"]
    )
    for name in sections:
        up.add_metric([name], float(f"metrics of {name}" in collected))
    return [
        up,
        _build_info(),
        *_merged(family for families in collected.values() for family in families),
    ]


def _build_info() -> Metric:
    documentation = "The release of this API process. The value is always 1."
    return gauge(
        "saga_build_info", documentation, version=str(settings.SPECTACULAR_SETTINGS["VERSION"])
    )(1)


def _collect(section: Section) -> list[Metric]:
    return list(section())


def _merged(families: Iterable[Metric]) -> list[Metric]:
    """Join families of the same name: the format requires all samples of a name together."""
    merged: dict[str, Metric] = {}
    for family in families:
        if family.name in merged:
            merged[family.name].samples.extend(family.samples)
        else:
            merged[family.name] = family
    return list(merged.values())
