"""The probes by name, in the order of the report."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

from doctor.findings import Job, Options

__all__ = ["Probe", "probe", "probes"]

MODULES = (
    "servers",
    "tls",
    "sessions",
    "sequences",
    "migrations",
    "broker",
    "clocks",
    "workers",
    "gateway",
    "metrics",
    "processes",
    "connections",
    "client_address",
    "settings",
)

Look = Callable[[Options], Sequence[Job]]


class Probe(NamedTuple):
    """A named probe: `proves` says in words which property it proves."""

    name: str
    proves: str
    jobs: Look


_probes: dict[str, Probe] = {}


def probe(name: str, *, proves: str) -> Callable[[Look], Look]:
    """Register a function that returns the jobs of a probe."""

    def register(function: Look) -> Look:
        _probes[name] = Probe(name, proves, function)
        return function

    return register


def probes() -> list[Probe]:
    """Return all probes, in the order of the report."""
    for module in MODULES:
        import_module(f"doctor.probes.{module}")
    return list(_probes.values())
