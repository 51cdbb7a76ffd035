"""Wait for a condition in another process, with a time limit."""

from collections.abc import Callable

from tools.local.processes import poll

__all__ = ["eventually"]


def eventually(condition: Callable[[], object], *, seconds: float = 60.0) -> bool:
    """Return whether a condition becomes true within the time."""
    return any(condition() for _ in poll(seconds, pause=0.02))
