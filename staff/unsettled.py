"""Log entries that wait for the end of a transaction, because its rollback would undo them.

A failed or refused write within a transaction is logged after the rollback. A write to another
database is logged as done once its transaction has committed. An entry that was undone by a
rollback is added again, and says so. The middleware of a request collects what waits, and adds it
before the answer is sent.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import Error, connection, connections, transaction

__all__ = [
    "ROLLED_BACK",
    "after_rollback",
    "collected",
    "record_after_commit",
    "record_after_rollback",
]

logger = logging.getLogger(__name__)

ROLLED_BACK = "The transaction of this write was rolled back."

AddEntry = Callable[[], object]

_waiting: ContextVar[list[AddEntry] | None] = ContextVar("waiting", default=None)


@contextmanager
def collected() -> Iterator[None]:
    """Add the entries that wait at the end of the block."""
    waiting: list[AddEntry] = []
    token = _waiting.set(waiting)
    try:
        yield
    finally:
        _waiting.reset(token)
        for add_entry in waiting:
            _add(add_entry)


def record_after_rollback(add_entry: AddEntry) -> None:
    """Add an entry to the log once no transaction of the log's database can undo it.

    Outside of `collected`, as in a worker, the entry is part of the caller's transaction.
    """
    waiting = _waiting.get()
    if waiting is None or not connection.in_atomic_block:
        add_entry()
    else:
        waiting.append(add_entry)


def record_after_commit(alias: str, *, done: AddEntry, failed: AddEntry) -> None:
    """Call `done` after the commit of a database's transaction, or `failed` after its rollback."""
    transaction_id = _transaction_id(alias)

    def settle() -> None:
        if _has_committed(alias, transaction_id):
            done()
        else:
            failed()

    _at_end_of_transaction(alias, on_commit=done, unless_committed=settle)


def after_rollback(alias: str, call: AddEntry) -> None:
    """Call a function at the end of the request if the present transaction may be rolled back.

    It must look itself: Django does not tell a rollback from a commit whose callbacks failed.
    """
    _at_end_of_transaction(alias, on_commit=lambda: None, unless_committed=call)


def _at_end_of_transaction(alias: str, *, on_commit: AddEntry, unless_committed: AddEntry) -> None:
    called = False

    def note_commit() -> None:
        nonlocal called
        called = True
        on_commit()

    def at_end_of_request() -> None:
        # A transaction of a test is still open here.
        if not called and not connections[alias].in_atomic_block:
            unless_committed()

    # Robust, because an entry that cannot be added must not fail the callbacks of others.
    transaction.on_commit(note_commit, using=alias, robust=True)
    waiting = _waiting.get()
    if waiting is not None:
        waiting.append(at_end_of_request)


def _transaction_id(alias: str) -> str | None:
    """Return the id of the present transaction; None if it can only be rolled back."""
    if connections[alias].needs_rollback:
        return None
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text")
        (found,) = cursor.fetchone()
    return str(found)


def _has_committed(alias: str, transaction_id: str | None) -> bool:
    """Ask the database, because a callback that raises keeps Django from calling the next ones."""
    if transaction_id is None:
        return False
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_xact_status(%s::xid8)", [transaction_id])
        (status,) = cursor.fetchone()
    return bool(status == "committed")


def _add(add_entry: AddEntry) -> None:
    try:
        add_entry()
    except Error:
        logger.exception(
            "An entry about a write is missing in the log of staff. Check the databases."
        )
