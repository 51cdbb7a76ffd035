"""Asking what may hang, within a time limit: one way for readiness and for metrics.

A question that hangs is never asked a second time beside itself: whoever asks next waits for the
one under way. So a hung server costs one thread for each question, however often it is asked; the
connection's own limits end it.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from django.db import connections

__all__ = ["ask"]

T = TypeVar("T")

_threads = ThreadPoolExecutor(max_workers=32, thread_name_prefix="asking")
_under_way: dict[str, Future[Any]] = {}
_lock = threading.Lock()


def ask(questions: Mapping[str, Callable[[], T]], *, seconds: float) -> dict[str, T]:
    """Return the answers that came within so many seconds, by name. What failed or is still
    under way has none.
    """
    asked = {name: _asked(name, question) for name, question in questions.items()}
    wait(asked.values(), timeout=seconds)
    return {
        name: answer.result()
        for name, answer in asked.items()
        if answer.done() and not answer.exception()
    }


def _asked(name: str, question: Callable[[], T]) -> Future[T]:
    with _lock:
        found = _under_way.get(name)
        if found is None or found.done():
            found = _under_way[name] = _threads.submit(_answer, question)
        return found


def _answer(question: Callable[[], T]) -> T:
    try:
        return question()
    finally:
        connections.close_all()  # this thread's own
