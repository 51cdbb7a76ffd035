"""The party at fault, as an error alone shows it (see `sagas.execution.blame` for the evidence)."""

from collections.abc import Iterator
from enum import StrEnum

from django.apps import apps
from django.db.models import AutoField

from sagas.definition.hold_scope import WrongDestination
from sagas.definition.waits import WrongSignal

__all__ = ["Blame", "blame_of"]

# SQLSTATE classes that no data of a saga causes: feature not supported (a cached plan after a
# change of the table), prepared statement unknown, authorization, database, schema, syntax or
# access rule (an undefined column, table or function, a missing right), system and configuration.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
STEP_CLASSES = ("0A", "26", "28", "3D", "3F", "42", "58", "F0", "XX")
UNIQUE_VIOLATION = "23505"

# Python's errors for code that does not fit together, and a destination that cannot be named so.
BROKEN_CODE = (ImportError, SyntaxError, NotImplementedError, WrongDestination)


class Blame(StrEnum):
    """The party at fault, as far as the error alone shows it.

    `SAGA`: nothing shows another's fault. `STEP`: the step's code, or its database. `RELEASE`:
    this release does not know the step, another one may. `PROVIDER`: the outside system gives no
    answer. `PROCESS`: the process was lost.
    """

    SAGA = "order"  # the name of earlier releases, which their rows have
    STEP = "step"
    RELEASE = "release"
    PROVIDER = "provider"
    PROCESS = "process"

    @classmethod
    def _missing_(cls, value: object) -> "Blame":
        """Read the blame of a later release as the saga's: its evidence still decides."""
        return cls.SAGA


def blame_of(error: BaseException) -> Blame:
    """Return whose fault an exception shows: the step's, the release's, or else the saga's.

    A signal that a wait cannot read was checked by the process that accepted it, which is then of
    another release.
    """
    if any(_shows_step(each) for each in _causes(error)):
        return Blame.STEP
    return Blame.RELEASE if isinstance(error, WrongSignal) else Blame.SAGA


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and the exceptions it was raised from."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _shows_step(error: BaseException) -> bool:
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        is_step = state.startswith(STEP_CLASSES)
        return is_step or (state == UNIQUE_VIOLATION and _is_of_sequence(error))
    if isinstance(error, NameError):
        return not isinstance(error, UnboundLocalError)
    if isinstance(error, AttributeError):
        return str(error).startswith(("module ", "partially initialized module "))
    return isinstance(error, BROKEN_CODE)


def _is_of_sequence(error: BaseException) -> bool:
    """Tell whether a unique violation is of a primary key that a sequence feeds.

    The sequence is then behind its table, for example after a restore.
    """
    details = getattr(error, "diag", None)
    table, constraint = (
        getattr(details, "table_name", None),
        getattr(details, "constraint_name", None),
    )
    return bool(table) and constraint == f"{table}_pkey" and table in _tables_with_sequence()


def _tables_with_sequence() -> set[str]:
    return {
        model._meta.db_table
        for model in apps.get_models(include_auto_created=True)
        if isinstance(model._meta.pk, AutoField)
    }
