"""The Prometheus metrics of a worker. All its processes write them, its main process serves them.

The module is imported only where METRICS_PORT is set. prometheus-client keeps the values of each
process in a file, which outlives the process:
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
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

__all__ = ["WorkerMetrics", "forget_dead_processes", "serve"]

logger = logging.getLogger(__name__)

FOLDER = "PROMETHEUS_MULTIPROC_DIR"

# Histogram buckets: seconds of a batch, seconds of a saga, messages of a batch.
BATCH_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SAGA_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
MESSAGES = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class WorkerMetrics:
    """The metrics of a worker. They are in no registry, because the collector reads the files."""

    def __init__(self) -> None:
        _use_files()
        self.batches = Histogram(
            "saga_step_batch_seconds",
            "Duration of a step's run for one batch.",
            ["step"],
            buckets=BATCH_SECONDS,
            registry=None,
        )
        self.outcomes = Counter(
            "saga_step_outcomes",
            "Outcomes of messages, by step and outcome.",
            ["step", "outcome"],
            registry=None,
        )
        self.sagas = Histogram(
            "saga_duration_seconds",
            "Time from a saga's start to its end.",
            ["home", "event"],
            buckets=SAGA_SECONDS,
            registry=None,
        )
        self.published = Histogram(
            "saga_relay_batch_messages",
            "Outbox rows that the relay published at once.",
            ["service"],
            buckets=MESSAGES,
            registry=None,
        )
        self.unpublished = Counter(
            "saga_relay_publish_failures",
            "Batches that the relay could not publish and gave back to the outbox.",
            ["service"],
            registry=None,
        )
        self.redriven = Counter(
            "saga_redriven", "Stalled sagas that were re-driven.", ["home"], registry=None
        )
        self.last_redrive_at = Gauge(
            "saga_rescue_last_run_timestamp_seconds",
            "Time of the last re-drive round, which beat starts.",
            ["home"],
            multiprocess_mode="max",
            registry=None,
        )

        self.calls = Gauge(
            "saga_calls",
            "Calls in flight to outside systems, by destination and state.",
            ["destination", "state"],
            multiprocess_mode="livesum",
            registry=None,
        )
        self.call_limit = Gauge(
            "saga_calls_limit",
            "The present limit of calls at once, by destination, over all processes.",
            ["destination"],
            multiprocess_mode="livesum",
            registry=None,
        )
        self.queue = Gauge(
            "saga_worker_queue",
            "1 for each queue that this worker consumes.",
            ["queue"],
            multiprocess_mode="max",
            registry=None,
        )

    def count(self, step: str, outcomes: Iterable[str]) -> None:
        """Count the outcomes of one batch."""
        found = list(outcomes)
        for outcome in set(found):
            self.outcomes.labels(step, outcome).inc(found.count(outcome))


def serve(host: str, port: int) -> WSGIServer | None:
    """Serve the metrics of this process and its children.

    Return None if the port is taken: the worker runs on without serving them.
    """
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        logger.warning(
            "This worker does not serve its metrics, because it cannot listen on METRICS_PORT %d: "
            "%r. Give each worker of a host a port of its own.",
            port,
            error,
        )
        return None
    return server


def forget_dead_processes() -> None:
    """Remove the gauges of children that are dead, because a sum over live processes has them."""
    folder = Path(os.environ[FOLDER])
    for file in folder.glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(pid)


def _use_files() -> None:
    """Choose the folder of the values, and remove those of an earlier run.

    It must run before the first metric is created.
    """
    folder = os.environ.get(FOLDER)
    if folder is None:
        folder = os.environ[FOLDER] = tempfile.mkdtemp(prefix="saga-metrics-")
        atexit.register(_remove, folder, os.getpid())

    for leftover in Path(folder).glob("*.db"):
        leftover.unlink()
    values.ValueClass = values.MultiProcessValue()


def _remove(folder: str, owner: int) -> None:
    """Remove the folder as the worker ends. A child that ends leaves it alone."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
