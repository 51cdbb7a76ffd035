"""The databases, the broker and the cache answer."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db import Error
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from doctor.findings import Finding, Job, Options, fault, proved
from doctor.registry import probe
from doctor.runner import one_line
from doctor.servers import broker_client, cache_client, database_jobs, rows

__all__ = ["servers"]


@probe("servers", proves="each database, the broker and the cache answer")
def servers(options: Options) -> Sequence[Job]:
    return [
        *database_jobs(_database),
        Job("broker", lambda: _answers("broker", _ping_broker)),
        Job("cache", lambda: _answers("cache", lambda: cache_client().ping())),
    ]


def _database(alias: str, label: str) -> Iterator[Finding]:
    yield from _answers(label, lambda: rows(alias, "SELECT 1"))


def _ping_broker() -> None:
    with broker_client() as client:
        client.ping()


def _answers(label: str, ask: Callable[[], Any]) -> Iterator[Finding]:
    try:
        ask()
    except (Error, RedisError, OperationalError, OSError) as error:
        yield fault(
            f"{label}: no answer: {one_line(error)}",
            "Start it, or correct its URL, and check the network and the password.",
        )
    else:
        yield proved(f"{label}: answers")
