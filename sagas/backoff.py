"""Exponential backoff: the pauses between attempts, in Python and in SQL."""

import random

__all__ = ["exponential", "exponential_sql", "jittered"]

# No longest pause is reached later than this. The limit keeps the power small for any attempt.
MOST_DOUBLINGS = 20


def exponential(attempt: int, *, first: float, longest: float) -> float:
    """Return the seconds to wait after attempt number `attempt`, counted from 1.

    The pause is `first` after attempt 1, doubles with each attempt, and is at most `longest`.
    """
    doublings = min(attempt - 1, MOST_DOUBLINGS)
    pause: float = first * 2**doublings
    return min(longest, pause)


def exponential_sql(attempt: str, *, first: str, longest: str) -> str:
    """Return `exponential` as an SQL expression of three SQL expressions."""
    return f"LEAST({longest}, {first} * 2 ^ LEAST({attempt} - 1, {MOST_DOUBLINGS}))"


def jittered(seconds: float) -> float:
    """Return a random pause between half of `seconds` and all of it.

    Attempts that failed together are then not repeated together.
    """
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311  not a secret
