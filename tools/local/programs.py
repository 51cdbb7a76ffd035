"""The programs of the service that run beside the servers."""

import sys
from dataclasses import dataclass

from tools.local.ports import HOST, port_from_env

__all__ = ["API_PORT_VARIABLE", "PROGRAMS", "Program", "api_port", "manage"]

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


def _worker(service: str) -> Program:
    # Gossip, mingle and heartbeats inform workers about each other. These workers do not need that.
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    command = (
        "-m",
        "celery",
        "-A",
        "config",
        "worker",
        "-Q",
        service,
        "-n",
        f"{service}@%h",
        "-c",
        "2",
        *quiet,
    )
    return Program(
        name=f"worker-{service}", stage=1, command=(sys.executable, *command, "--loglevel", "INFO")
    )


PROGRAMS = (
    _worker("orders"),
    _worker("payments"),
    _worker("inventory"),
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
