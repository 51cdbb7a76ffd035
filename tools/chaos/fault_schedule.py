"""The schedule of faults, drawn from a seed before any process starts."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = ["FLUSHALL", "KILLS", "Fault", "schedule"]

FLUSHALL = "FLUSHALL"

# Percentage of kills for each kind of process. The supervisor restarts a main process after up to
# ten seconds. A main process replaces its children at once. Most kills are of children, so that
# most kills hit a working system.
KILLS: Mapping[str, int] = {
    "worker child": 32,
    "worker": 23,
    "API worker": 15,
    "PostgreSQL process": 8,
    "beat": 7,
    "API": 5,
    "PostgreSQL": 5,
    "Valkey": 5,
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault, injected once `after` orders are answered.

    `choice`, from 0 to 1, selects one of several processes.
    """

    kind: str
    after: int
    choice: float


def schedule(*, orders: int, kills: int, flushalls: int, seed: int) -> list[Fault]:
    """Return the faults in order, spread over all orders; the last comes with the last order."""
    rng = random.Random(f"faults {seed}")
    kinds = [*_kinds(kills, rng), *[FLUSHALL] * flushalls]
    rng.shuffle(kinds)
    moments = sorted(rng.randint(1, orders) for _ in kinds)
    moments[-1:] = [orders] * bool(moments)

    return [
        Fault(kind=kind, after=after, choice=rng.random())
        for kind, after in zip(kinds, moments, strict=True)
    ]


def _kinds(kills: int, rng: random.Random) -> Iterator[str]:
    """Yield each kind once, then random kinds, `kills` in total."""
    yield from list(KILLS)[:kills]
    yield from rng.choices(list(KILLS), weights=list(KILLS.values()), k=max(0, kills - len(KILLS)))
