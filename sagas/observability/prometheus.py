"""What a worker observes while it works, for Prometheus: served by its main process, written by all
of its children.

Imported only where METRICS_PORT is set: elsewhere nothing is observed, and it costs nothing.
prometheus-client keeps the values of each child in a file, which outlives it:
https://prometheus.github.io/client_python/multiprocess/
"""

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    start_http_server,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["Meters", "serve"]

logger = logging.getLogger(__name__)

FOLDER = "PROMETHEUS_MULTIPROC_DIR"

# Seconds.
OF_A_BATCH = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
OF_A_SAGA = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
MESSAGES = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class Meters:
    """The metrics of a worker."""

    def __init__(self) -> None:
        _one_file_for_each_process()
        # In no registry: the collector reads the files.
        self.batches = Histogram(
            "saga_step_batch_seconds",
            "One run of a step for a batch.",
            ["step"],
            buckets=OF_A_BATCH,
            registry=None,
        )
        self.outcomes = Counter(
            "saga_step_outcomes",
            "What became of messages, by step and outcome.",
            ["step", "outcome"],
            registry=None,
        )
        self.sagas = Histogram(
            "saga_duration_seconds",
            "From placed to ended.",
            ["home", "event"],
            buckets=OF_A_SAGA,
            registry=None,
        )
        self.published = Histogram(
            "saga_relay_batch_messages",
            "Rows sent at once.",
            ["service"],
            buckets=MESSAGES,
            registry=None,
        )
        self.unpublished = Counter(
            "saga_relay_publish_failures",
            "Batches given back to the outbox.",
            ["service"],
            registry=None,
        )
        self.redriven = Counter(
            "saga_redriven", "Sagas driven again by the rescue.", ["home"], registry=None
        )
        self.rescued_at = Gauge(
            "saga_rescue_last_run_timestamp_seconds",
            "When the rescue last ran, which beat has it do.",
            ["home"],
            multiprocess_mode="max",
            registry=None,
        )

    def count(self, step: str, outcomes: Iterable[str]) -> None:
        """Count the outcomes of one batch."""
        found = list(outcomes)
        for outcome in set(found):
            self.outcomes.labels(step, outcome).inc(found.count(outcome))


def serve(host: str, port: int) -> WSGIServer | None:
    """Serve what this process and its children observe; return None where the port is taken:
    work goes on.
    """
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        logger.warning(
            "METRICS_PORT %d is not free, so this worker's metrics are not served: %r", port, error
        )
        return None
    return server


def _one_file_for_each_process() -> None:
    """Choose where the values lie, emptied of another run's; the choice must be made before the
    first metric.
    """
    folder = os.environ.get(FOLDER)
    if folder is None:
        folder = os.environ[FOLDER] = tempfile.mkdtemp(prefix="saga-metrics-")
        atexit.register(_remove, folder, os.getpid())
    for left in Path(folder).glob("*.db"):
        left.unlink()
    values.ValueClass = values.MultiProcessValue()


def _remove(folder: str, owner: int) -> None:
    """Remove the values as the worker ends; a child that ends leaves them."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
