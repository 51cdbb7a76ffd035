"""The deadlines of sagas, a column of their tracked rows. All times are of the home's database."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from sagas import sql
from sagas.models import TrackedSaga
from sagas.storage.registry import Home

__all__ = ["finish", "set_deadline", "take_passed"]

# Set the deadline of a saga that has just started
SET = """
UPDATE {tracked} SET deadline_at = %(started_at)s + make_interval(secs => %(seconds)s)
 WHERE id = %(saga)s
"""

# Take the deadlines that have passed
# A deadline also ends a saga on hold, and a saga that waits as agreed.
PASSED = sql.lease_statement(
    "{tracked}",
    due="deadline_at",
    condition="deadline_at IS NOT NULL AND ended_at IS NULL",
    returning="id",
)

# End the deadline of a saga
# It returns no row if another process has ended it. Inbox rows are locked before.
FINISH = """
UPDATE {tracked} SET deadline_at = NULL WHERE id = %(saga)s AND deadline_at IS NOT NULL
RETURNING ended_at IS NULL
"""


def set_deadline(home: Home, saga: UUID, *, started_at: datetime, deadline: timedelta) -> None:
    """Set the deadline of a saga, in the transaction that starts it."""
    params = {"saga": saga, "started_at": started_at, "seconds": deadline.total_seconds()}
    for table in home.tables:
        sql.run(home.alias, SET.format(tracked=table), params)


def take_passed(
    home: Home, *, limit: int, pause: float
) -> Iterator[tuple[type[TrackedSaga], UUID]]:
    """Yield the model and the id of open sagas over their deadline, at most `limit` of each model.

    Other processes do not take them for `pause` seconds, so another one goes on if this one dies.
    """
    params = {"limit": limit, "lease": pause}
    for kind, table in zip(home.kinds, home.tables, strict=True):
        for (saga,) in sql.fetch(home.alias, PASSED.format(tracked=table), params):
            yield kind, saga


def finish(home: Home, kind: type[TrackedSaga], saga: UUID) -> bool:
    """End the deadline of a saga, in the caller's transaction.

    Return whether this call ended it, and the saga is open.
    """
    statement = FINISH.format(tracked=kind._meta.db_table)
    return any(is_open for (is_open,) in sql.fetch(home.alias, statement, {"saga": saga}))
