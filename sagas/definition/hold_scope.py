"""The scope of a hold on a step: the whole step, or its calls to one destination."""

from typing import NamedTuple

__all__ = ["MOST_CHARACTERS_OF_DESTINATION", "HoldScope", "WrongDestination", "check_destination"]

# A destination is part of unique indexes, so its length needs a limit.
MOST_CHARACTERS_OF_DESTINATION = 150


class WrongDestination(ValueError):
    """A text that cannot name a destination. The message says why, for a developer or operator."""


class HoldScope(NamedTuple):
    """A step, or the calls of an external step to one destination. Empty: the whole step."""

    step: str
    destination: str = ""

    def __str__(self) -> str:
        """Return the scope as operators read it, such as `payments.charge to stripe`."""
        return f"{self.step} to {self.destination}" if self.destination else self.step


def check_destination(name: str) -> None:
    """Raise `WrongDestination` for a name that no destination may have.

    A name is 1 to 150 printable characters, and neither begins nor ends with a blank.
    """
    if not name:
        raise WrongDestination("The name of a destination is empty.")
    if len(name) > MOST_CHARACTERS_OF_DESTINATION:
        raise WrongDestination(
            f"The name of a destination has {len(name)} characters, but may have at most "
            f"{MOST_CHARACTERS_OF_DESTINATION}: {name[:MOST_CHARACTERS_OF_DESTINATION]!a}…"
        )
    if not name.isprintable():
        raise WrongDestination(
            f"The name of a destination has characters that cannot be printed: {name!a}"
        )
    if name != name.strip():
        raise WrongDestination(f"The name of a destination begins or ends with a blank: {name!a}")
