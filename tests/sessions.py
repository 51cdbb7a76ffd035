"""Another database session, whose locks stay while a test goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

__all__ = ["AnotherSession", "another_session"]

NO_TIMEOUT = "SET LOCAL idle_in_transaction_session_timeout = 0"


class AnotherSession:
    """One transaction in a session of its own. Call it with a statement and its parameters."""

    def __init__(self, run: Callable[..., None], rollback: Callable[[], None]) -> None:
        self._run = run
        self.rollback = rollback

    def __call__(self, statement: str, *params: Any) -> None:
        """Run a statement. Its locks stay until `rollback`, or until the context ends."""
        self._run(statement, params)


@contextmanager
def another_session(
    statement: str = "", *params: Any, alias: str = "default"
) -> Iterator[AnotherSession]:
    """Open a session, and run a statement in it; its locks stay while the context lasts."""
    other = connections[alias].copy()
    other.set_autocommit(False)

    def run(statement: str, params: tuple[Any, ...]) -> None:
        with other.cursor() as cursor:
            cursor.execute(statement, params)

    try:
        run(NO_TIMEOUT, ())
        session = AnotherSession(run, other.rollback)
        if statement:
            session(statement, *params)
        yield session
    finally:
        other.rollback()
        other.close()
