"""The programs of the service that run beside the servers."""

import sys
from dataclasses import dataclass

from services import SERVICES, Service
from tools.local.ports import HOST, port_from_env

__all__ = [
    "API_PORT_VARIABLE",
    "PROGRAMS",
    "WORKERS",
    "Program",
    "api_port",
    "manage",
    "worker_command",
]

API_PORT_VARIABLE = "API_PORT"


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program and its stage. Stages start from the lowest and stop from the highest."""

    name: str
    stage: int
    command: tuple[str, ...]
    stop_timeout: float = 20.0


def manage(*arguments: str) -> tuple[str, ...]:
    """Return the command line of a Django management command."""
    return (sys.executable, "manage.py", *arguments)


def api_port() -> int:
    """Return the port the API listens on."""
    return port_from_env(API_PORT_VARIABLE, 8000)


def worker_command(service: Service, *, name: str = "") -> tuple[str, ...]:
    """Return the command line of a worker of a service. Two workers of a queue need two names."""
    # Gossip, mingle and heartbeats inform workers about each other. These workers do not need that.
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    return (
        sys.executable,
        "-m",
        "celery",
        "-A",
        "config",
        "worker",
        "-Q",
        service.name,
        "-n",
        f"{name or service.name}@%h",
        "-c",
        str(service.workers),
        *quiet,
        "--loglevel",
        "INFO",
    )


def _worker(service: Service) -> Program:
    return Program(name=f"worker-{service.name}", stage=1, command=worker_command(service))


_workers = tuple(_worker(service) for service in SERVICES)

# The names of the programs that are workers.
WORKERS = tuple(program.name for program in _workers)

PROGRAMS = (
    *_workers,
    Program(
        name="api",
        stage=2,
        command=(sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", f"{HOST}:{{api_port}}"),
    ),
    Program(
        name="beat",
        stage=3,
        command=(
            sys.executable,
            "-m",
            "celery",
            "-A",
            "config",
            "beat",
            "-s",
            "{run_dir}/celerybeat-schedule",
        ),
        stop_timeout=5.0,
    ),
)
