"""The scope of a hold on a step: the whole step, or its calls to one destination."""

from typing import NamedTuple

__all__ = ["HoldScope"]


class HoldScope(NamedTuple):
    """A step, or the calls of an external step to one destination. Empty: the whole step."""

    step: str
    destination: str = ""

    def __str__(self) -> str:
        """Return the scope as operators read it, such as `payments.charge to stripe`."""
        return f"{self.step} to {self.destination}" if self.destination else self.step
