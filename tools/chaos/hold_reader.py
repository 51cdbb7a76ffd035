"""Read which steps are on hold by themselves, from the database of each service."""

from collections.abc import Iterator, Mapping

import psycopg

from services import SERVICES

__all__ = ["automatic_holds"]

HOLDS = """
SELECT COALESCE(step, calling_step || ' to ' || destination)
  FROM {service}_hold WHERE automatic AND expires_at IS NULL
"""


def automatic_holds(env: Mapping[str, str]) -> list[str]:
    """Return the steps, and the destinations of steps, that are on an automatic hold.

    `env` has the addresses of the databases.
    """
    return sorted(
        step for service in SERVICES for step in _holds_of(service.name, env[service.variable])
    )


def _holds_of(service: str, url: str) -> Iterator[str]:
    with psycopg.connect(url, connect_timeout=5) as session:
        for (step,) in session.execute(HOLDS.format(service=service).encode()):
            yield step
