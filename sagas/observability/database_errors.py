"""Errors of PostgreSQL without the contents of rows, because their texts are stored and logged.

The server adds the row that it refuses to the text of an error, and a part of the statement. Both
may hold a person's own words. The text keeps the message, which names the constraint, the column or
the type, and the hint. A program finds all parts in the `diag` of psycopg's error.
"""

import re
from collections.abc import Callable
from typing import Any

import psycopg
from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

__all__ = ["connect", "hide_contents"]

# The SQLSTATE class of wrong data, whose messages quote the value, and the code of a wrong syntax,
# whose messages quote the statement.
QUOTING = ("22", "42601")

# The quotation marks of the server, which depend on its `lc_messages`.
QUOTED = re.compile(r'["«»„“].*["«»“”]', re.DOTALL)
HIDDEN = '"…"'


def connect() -> None:
    """Hide the contents of rows in the errors of every connection that Django opens from now on."""
    connection_created.connect(_guard, dispatch_uid="sagas.database_errors")


def hide_contents(error: BaseException | None) -> None:
    """Shorten the texts of an error and of those behind it.

    Needed only for an error of a commit, as of a deferred constraint. Statements do it themselves.
    """
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        waiting += [found.__cause__, found.__context__]
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions
        _shorten(found)


def _guard(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Let the statements of a new connection shorten their errors.

    The wrapper is the first, because Django's `execute_wrapper` removes the last one.
    """
    wrappers = connection.execute_wrappers
    if connection.vendor == "postgresql" and _execute not in wrappers:
        wrappers.insert(0, _execute)


def _execute(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    try:
        return execute(sql, params, many, context)
    except Error as error:
        hide_contents(error)
        raise


def _shorten(error: BaseException) -> None:
    source = error.__cause__ if isinstance(error, Error) else error
    if not isinstance(source, psycopg.Error):
        return
    message, hint = source.diag.message_primary, source.diag.message_hint
    if not message:  # the server has said nothing, as where it cannot be reached
        return
    if (source.sqlstate or "").startswith(QUOTING):
        message = QUOTED.sub(HIDDEN, message)
    error.args = (f"{message}\nHINT:  {hint}" if hint else message,)
