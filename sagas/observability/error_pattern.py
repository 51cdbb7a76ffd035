"""Groups failures: by step, and by the error without its ids, times and numbers."""

import re
from uuid import UUID, uuid5

__all__ = ["failure_id", "normalize"]

# As much of an error as the inbox keeps. The rest does not distinguish failures.
ERROR_LENGTH = 2_000

# The parts of an error that differ between sagas with the same failure.
TIMES = re.compile(r"\d{4}-\d\d-\d\d[ T][\d:.]+(?:[+-][\d:]+|Z)?")
IDS = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b\w*[0-9a-f]{16,}\w*\b", re.IGNORECASE
)
NUMBERS = re.compile(r"(?<![A-Za-z_])\d+(?:\.\d+)?")

# Any fixed UUID. It keeps these ids apart from the ids of tasks.
NAMESPACE = UUID("5d0c6a4e-6f0a-4b57-9a51-6f2f3c0d9b1e")


def normalize(error: str) -> str:
    """Return an error with placeholders for its times, ids and numbers."""
    for pattern, placeholder in ((TIMES, "{time}"), (IDS, "{id}"), (NUMBERS, "{n}")):
        error = pattern.sub(placeholder, error)
    return error


def failure_id(error: str, *, task: str, step: str, state: str = "FAILURE") -> str:
    """Return the id of all failures of one step of a task whose errors have the same pattern."""
    pattern = normalize(error[:ERROR_LENGTH])
    name = "\n".join((state, task, step, pattern))
    return str(uuid5(NAMESPACE, name.encode(errors="replace").decode()))
