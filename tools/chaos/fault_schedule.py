"""The schedule of faults, drawn from a seed before any process starts."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = [
    "BAD_RELEASES",
    "COLUMN",
    "DEPLOYMENT",
    "FLUSHALL",
    "GRANT",
    "KILLS",
    "SEQUENCE",
    "STEP",
    "Episode",
    "Fault",
    "bad_releases",
    "deployments",
    "schedule",
]

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

# The kinds of bad releases.
COLUMN, GRANT, SEQUENCE, STEP = (
    "a missing column",
    "a missing grant",
    "a sequence behind its table",
    "a worker that does not know a step",
)
BAD_RELEASES = (COLUMN, GRANT, SEQUENCE, STEP)
DEPLOYMENT = "a rolling deployment"

# A bad release lasts for this part of the longest time at least.
SHORTEST_PART = 0.3
# Episodes begin before this part of the orders is answered, so that orders meet the last one.
LAST_BEGIN = 0.85


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault, injected once `after` orders are answered.

    `choice`, from 0 to 1, selects one of several processes.
    """

    kind: str
    after: int
    choice: float


@dataclass(frozen=True, kw_only=True)
class Episode:
    """A fault that lasts some `seconds`. It begins once `after` orders are answered.

    `choice`, from 0 to 1, selects one of several targets.
    """

    kind: str
    after: int
    seconds: float
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


def bad_releases(*, orders: int, count: int, seconds: float, seed: int) -> list[Episode]:
    """Return bad releases in order, spread over the orders. Each lasts up to `seconds`.

    Each kind comes once, then random kinds.
    """
    rng = random.Random(f"bad releases {seed}")
    kinds = rng.sample(BAD_RELEASES, k=min(count, len(BAD_RELEASES)))
    kinds += rng.choices(BAD_RELEASES, k=count - len(kinds))
    return [
        Episode(
            kind=kind,
            after=after,
            seconds=seconds * rng.uniform(SHORTEST_PART, 1),
            choice=rng.random(),
        )
        for kind, after in zip(kinds, _spread(orders, count, rng), strict=True)
    ]


def deployments(*, orders: int, count: int, seconds: float, seed: int) -> list[Episode]:
    """Return rolling deployments in order, spread over the orders.

    The workers of both releases run side by side for `seconds` at least.
    """
    rng = random.Random(f"deployments {seed}")
    return [
        Episode(kind=DEPLOYMENT, after=after, seconds=seconds, choice=0.0)
        for after in _spread(orders, count, rng)
    ]


def _spread(orders: int, count: int, rng: random.Random) -> list[int]:
    """Return the numbers of orders after which episodes begin: one in each of `count` parts."""
    part = LAST_BEGIN * orders / max(1, count)
    return [1 + int(part * (number + rng.random())) for number in range(count)]
