"""Waiting for what another process does, with a limit."""

from collections.abc import Callable

from tools.local.processes import poll

__all__ = ["eventually"]


def eventually(condition: Callable[[], object], *, seconds: float = 60.0) -> bool:
    """Say whether a condition came to hold within a time."""
    return any(condition() for _ in poll(seconds, pause=0.02))
