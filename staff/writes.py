"""One write by staff: permitted by the policy, and in the log, also if it fails.

The log is in the default database. A write in the same database commits with its entry; if it
fails, its failure is an entry of its own. A write in another database has two entries: the
intention before it, and the outcome after its commit or rollback. So a crash leaves an intention
without an outcome, and never a write without an entry.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Unpack

from django.db import connections, transaction

from sagas.kinds import SagaKind
from staff import log
from staff.models import LogEntry
from staff.policy import Actor, NotPermitted, decide
from staff.unsettled import ROLLED_BACK, record_after_commit, record_after_rollback

__all__ = [
    "SEVERAL",
    "Rejected",
    "Write",
    "check_permitted",
    "record_failure",
    "staff_write",
]

LOG_ALIAS = "default"

# The alias of a write in more than one database, which commits for itself.
SEVERAL = "all"

# Characters of an error that the log keeps.
MOST_ERROR = 2_000


class Rejected(Exception):
    """A permitted write that cannot be made now. The text is for the person: cause and remedy."""


class Write:
    """A write under way. Set `outcome` to the words that the log keeps."""

    def __init__(self) -> None:
        self.outcome = ""


def check_permitted(
    actor: Actor,
    action: str,
    *,
    via: str,
    kinds: Iterable[SagaKind] = (),
    **about: Unpack[log.About],
) -> None:
    """Ask the policy. `kinds` are those of the sagas that the action is about.

    Raises `NotPermitted` after logging the refusal.
    """
    decision = decide(actor, action, about.get("subject"), kinds=kinds)
    if not decision.allowed:
        refused: log.About = {**about, "outcome": decision.reason}
        record_after_rollback(
            partial(log.record, actor, LogEntry.Kind.REFUSED, action, refused, via=via)
        )
        raise NotPermitted(decision.reason)


def record_failure(
    actor: Actor,
    action: str,
    error: Exception,
    *,
    via: str,
    kind: LogEntry.Kind = LogEntry.Kind.FAILED,
    **about: Unpack[log.About],
) -> None:
    """Log that a write has failed, or was refused, with the error as its outcome."""
    outcome = (str(error) or type(error).__name__)[:MOST_ERROR]
    record_after_rollback(partial(_add_entry, actor, action, via, about, kind, outcome))


@contextmanager
def staff_write(
    actor: Actor,
    action: str,
    *,
    via: str,
    alias: str = LOG_ALIAS,
    kinds: Iterable[SagaKind] = (),
    **about: Unpack[log.About],
) -> Iterator[Write]:
    """Ask the policy, run the block, and log it.

    `via` is the surface: console, admin, api or command. `alias` is the database of the write, or
    `SEVERAL`. `kinds` are those of the sagas that the write is about.
    `about` has the entry's other columns, such as `subject`, `order_id` and `why`. Raises
    `NotPermitted` after logging the refusal; an error of the block is logged and raised again.
    """

    add_entry = partial(_add_entry, actor, action, via, about)
    check_permitted(actor, action, via=via, kinds=kinds, **about)

    write = Write()
    try:
        if alias == LOG_ALIAS:
            with transaction.atomic(using=alias):
                yield write
                add_entry(LogEntry.Kind.DONE, write.outcome)
            return
        add_entry(LogEntry.Kind.INTENDED)
        yield write
    except Exception as error:
        record_failure(actor, action, error, via=via, **about)
        raise

    add_done = partial(add_entry, LogEntry.Kind.DONE, write.outcome)
    if alias != SEVERAL and connections[alias].in_atomic_block:
        add_rolled_back = partial(add_entry, LogEntry.Kind.FAILED, ROLLED_BACK)
        record_after_commit(alias, done=add_done, failed=add_rolled_back)
    else:
        add_done()


def _add_entry(
    actor: Actor, action: str, via: str, about: log.About, what: str, outcome: str = ""
) -> None:
    log.record(actor, what, action, {**about, "outcome": outcome}, via=via)
