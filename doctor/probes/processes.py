"""The processes have time to stop, and file descriptors for their connections."""

import os
import resource
import runpy
from collections.abc import Iterator, Sequence
from pathlib import Path

from django.conf import settings
from gunicorn.config import Config

from doctor.findings import Finding, Job, Options, fault, proved, unknown
from doctor.registry import probe
from doctor.servers import databases
from sagas.workers import recent_heartbeats

__all__ = ["grace_period", "gunicorn_config", "open_files", "pool_size"]

# Descriptors of a process for code, logs, pipes and the broker.
SPARE = 64

# Descriptors of a worker's main process for each child, and the least that a child itself needs
# for its databases, the broker and its requests to the gateway.
FOR_EACH_CHILD = 8
LEAST = 128

UNLIMITED = resource.RLIM_INFINITY


@probe("grace-period", proves="a stopping process has time to end its tasks and requests")
def grace_period(options: Options) -> Sequence[Job]:
    return [Job("grace period", lambda: _grace(options))]


@probe("open-files", proves="each process may open enough files for its connections")
def open_files(options: Options) -> Sequence[Job]:
    return [Job("API", _api_files), Job("workers", _worker_files)]


def _grace(options: Options) -> Iterator[Finding]:
    grace = options.grace_seconds
    if grace is None:
        yield unknown(
            "grace period: the time between the request to stop and the kill is not given",
            "Give it: --grace-seconds, or STOP_GRACE_SECONDS.",
        )
        return
    needs = {
        "a task (TASK_TIME_LIMIT)": settings.CELERY_TASK_TIME_LIMIT,
        "a request (graceful_timeout of gunicorn)": float(gunicorn_config().graceful_timeout),
    }
    for what, seconds in needs.items():
        if grace > seconds:
            yield proved(f"grace period: {grace:g} s is above the {seconds:g} s of {what}")
        else:
            yield fault(
                f"grace period: {grace:g} s is not above the {seconds:g} s of {what}",
                "Raise it: TimeoutStopSec of systemd, terminationGracePeriodSeconds of Kubernetes.",
            )


def _api_files() -> Iterator[Finding]:
    config = gunicorn_config()
    connections = pool_size() * len(databases())
    need = int(config.worker_connections) + connections + SPARE
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield _compare(
        "API process",
        soft,
        need,
        f"{config.worker_connections} clients and {connections} database connections",
    )


def _worker_files() -> Iterator[Finding]:
    alive = [worker for worker in recent_heartbeats() if worker.alive]
    if not alive:
        yield unknown("workers: none is alive, so their limits are not known")
    for worker in alive:
        children = SPARE + FOR_EACH_CHILD * worker.processes
        calls = SPARE + settings.SAGA_CALLS_AT_ONCE
        need = max(LEAST, children, calls)
        if worker.most_files is None:
            yield unknown(
                f"worker {worker.name}: an earlier release, which does not tell its limit"
            )
        else:
            yield _compare(
                f"worker {worker.name}", worker.most_files, need, f"{worker.processes} processes"
            )


def _compare(label: str, limit: int, need: int, purpose: str) -> Finding:
    allowed = "any number of" if limit == UNLIMITED else f"{limit}"
    found = f"{label}: may open {allowed} files, and needs {need} for {purpose}"
    if limit == UNLIMITED or limit >= need:
        return proved(found)
    return fault(found, "Raise the limit: LimitNOFILE of systemd, ulimit -n, or nofile.")


def gunicorn_config() -> Config:
    """Return gunicorn's settings: its file in the project's folder, then GUNICORN_CMD_ARGS."""
    config = Config()
    file = Path(settings.BASE_DIR) / "gunicorn.conf.py"
    given = runpy.run_path(str(file)) if file.exists() else {}
    arguments = vars(config.parser().parse_args(config.get_cmd_args_from_env()))
    for values in (given, arguments):
        for name, value in values.items():
            if name in config.settings and value is not None:
                config.set(name, value)
    return config


def pool_size() -> int:
    """Return the connections of an API process to each database. The file of gunicorn sets it."""
    return int(os.environ.get("DATABASE_POOL_SIZE") or 0)
