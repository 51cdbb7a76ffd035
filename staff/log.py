"""Writes entries of the staff's log. Only `staff.writes`, `staff.people` and the console call it.

An entry should be the last statement of its transaction: it locks the head of the chain until the
commit, and other entries wait for it. If a transaction of a request is rolled back, its entries are
added again at the end of the request, and say that the write has failed.
"""

import logging
from functools import partial
from typing import TypedDict
from uuid import UUID

from django.db import connection, transaction

from staff.context import address_of
from staff.models import LogEntry
from staff.policy import Actor
from staff.unsettled import ROLLED_BACK, after_rollback

__all__ = ["About", "record"]

logger = logging.getLogger(__name__)

# The columns that an entry has from its writer.
COLUMNS = (
    *("who", "what", "action", "step", "run", "order_id", "via", "subject", "approver", "address"),
    *("why", "outcome", "failure", "about"),
)

# Entries that stay true after a rollback.
NOT_DONE = (LogEntry.Kind.FAILED, LogEntry.Kind.INTENDED, LogEntry.Kind.REFUSED)


class About(TypedDict, total=False):
    """The columns of an entry that name its subject, and the reason."""

    subject: str
    order_id: UUID | None
    step: str
    why: str
    outcome: str
    approver: str
    failure: str
    about: str


def record(
    actor: Actor,
    what: str,
    action: str,
    about: About,
    *,
    via: str,
    run: UUID | None = None,
) -> LogEntry:
    """Add an entry. Inside a transaction it commits with the write that it is about."""
    entry = LogEntry(
        who=actor.get_username() or "anonymous",
        what=what,
        action=action,
        via=via,
        run=run,
        address=address_of(actor),
        **about,
    )
    _add(entry)
    if connection.in_atomic_block:
        after_rollback(connection.alias, partial(_add_again, entry))
    return entry


def _add(entry: LogEntry) -> None:
    entry.save(force_insert=True)
    transaction.on_commit(partial(_show_head, entry), robust=True)


def _add_again(undone: LogEntry) -> None:
    """Add an entry about a write whose transaction was rolled back, unless it has committed."""
    if LogEntry.objects.filter(pk=undone.pk).exists():
        return
    again = LogEntry(**{name: getattr(undone, name) for name in COLUMNS})
    if undone.what not in NOT_DONE:
        intended = f" Undone: {undone.outcome}" if undone.outcome else ""
        again.what, again.outcome = LogEntry.Kind.FAILED, f"{ROLLED_BACK}{intended}"
    _add(again)


def _show_head(entry: LogEntry) -> None:
    """Leave the head of the chain in this process's log, which the database cannot change."""
    logger.info("Log of staff: its head is %d:%s", entry.seq, bytes(entry.hash).hex())
