"""Limits of calls to outside systems: how many start in a second, and how many run at once.

A limit belongs to a key. The keys of a call are its step, its destination, and each part of the
destination that ends before a slash. So a call of `trips.pay` to `bank/merchant-7` has the keys
`trips.pay`, `bank` and `bank/merchant-7`. All limits of its keys hold at once. The key `bank/*`
stands for each key below `bank` that has no limit of its own.
"""

from collections.abc import Callable, Mapping

import msgspec

__all__ = ["NO_LIMIT", "Limit", "Limits", "keys_of"]


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """The most calls of a key, over all processes of the service. None: no limit.

    `per_second`: calls that start within any second. `at_once`: calls that run at a time.
    """

    per_second: int | None = None
    at_once: int | None = None

    def __bool__(self) -> bool:
        """Return whether there is any limit."""
        return self.per_second is not None or self.at_once is not None


NO_LIMIT = Limit()

# The default limit of a key, as its step declares it.
DefaultLimit = Callable[[str], Limit | None]


class Limits(msgspec.Struct, frozen=True):
    """The limits of a service that operators have set, by key. They replace the defaults."""

    by_key: Mapping[str, Limit] = {}

    def of(self, key: str, default: DefaultLimit) -> Limit:
        """Return the limit of a key: an operator's, or the default."""
        found = self.by_key.get(key)
        if found is None:
            found = self.by_key.get(_pattern(key))
        return found if found is not None else default(key) or NO_LIMIT


def keys_of(step: str, destination: str) -> tuple[str, ...]:
    """Return the keys of a call."""
    parts = destination.split("/")
    return (step, *("/".join(parts[:end]) for end in range(1, len(parts) + 1)))


def _pattern(key: str) -> str:
    parent, slash, _ = key.rpartition("/")
    return f"{parent}/*" if slash else ""
