"""Which faults strike, and when: drawn from a seed before anything is started."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = ["FLUSHALL", "KILLS", "Fault", "schedule"]

FLUSHALL = "FLUSHALL"

# How many of a hundred kills are of each kind. What the supervisor restarts is down for up to ten
# seconds each time; the children of a main process are replaced at once, so that most kills meet a
# system that works.
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
    """A fault that strikes once `after` orders are answered; `choice`, from 0 to 1, picks one of
    several processes.
    """

    kind: str
    after: int
    choice: float


def schedule(*, orders: int, kills: int, flushalls: int, seed: int) -> list[Fault]:
    """Return the faults in their order, spread over the orders; the last one strikes with the
    last order.
    """
    dice = random.Random(f"faults {seed}")
    kinds = [*_kinds(kills, dice), *[FLUSHALL] * flushalls]
    dice.shuffle(kinds)
    moments = sorted(dice.randint(1, orders) for _ in kinds)
    moments[-1:] = [orders] * bool(moments)
    return [
        Fault(kind=kind, after=after, choice=dice.random())
        for kind, after in zip(kinds, moments, strict=True)
    ]


def _kinds(kills: int, dice: random.Random) -> Iterator[str]:
    """Yield every kind once, as far as the kills go, and then at random."""
    yield from list(KILLS)[:kills]
    yield from dice.choices(list(KILLS), weights=list(KILLS.values()), k=max(0, kills - len(KILLS)))
