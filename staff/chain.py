"""Verifies the hash chain of the log, in the same way as the trigger of migration 0003_log_chain.

It computes every hash in Python. So a changed function in the database cannot hide a change.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction

from staff.models import LogEntry, LogHead

__all__ = ["GENESIS", "Link", "Result", "entry_hash", "parse_link", "verify", "verify_part"]

# The hash before the first entry.
GENESIS = bytes(32)

# Entries read at once.
PAGE = 2_000

# Faults after which a check stops: each names an entry, and the first ones tell where to look.
MOST_FAULTS = 20

FORMAT = "1"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PURGE_ACTION = "purge_log"


@dataclass(frozen=True)
class Link:
    """The number and the hash of an entry. In text: `NUMBER:HASH`, the hash in hexadecimal."""

    seq: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash.hex()}"


@dataclass
class Result:
    """The faults found, the last entry that was checked, and whether it was the newest one."""

    first: int
    last: Link
    faults: list[str] = field(default_factory=list)
    at_head: bool = False


def parse_link(text: str) -> Link:
    """Parse `NUMBER:HASH`. Raises ValueError."""
    number, _, digits = text.strip().partition(":")
    link = Link(int(number), bytes.fromhex(digits))
    if link.seq < 0 or len(link.hash) != len(GENESIS):
        raise ValueError("The hash has 64 hexadecimal digits.")
    return link


def entry_hash(previous: bytes, entry: LogEntry) -> bytes:
    """Return the hash that an entry has after an entry with the hash `previous`."""
    values = (
        FORMAT,
        str(entry.seq),
        str(entry.id),
        str((entry.at - EPOCH) // timedelta(microseconds=1)),
        entry.who,
        entry.what,
        entry.action,
        entry.step,
        None if entry.run is None else str(entry.run),
        None if entry.order_id is None else str(entry.order_id),
        entry.via,
        entry.subject,
        entry.approver,
        entry.address,
        entry.why,
        entry.outcome,
        entry.failure,
        entry.about,
    )
    text = b",".join(map(_with_length, values))
    return hashlib.sha256(previous + text).digest()


def verify(expected: Sequence[Link] = ()) -> Result:
    """Check the whole log, and that it has the `expected` entries. Memory stays bounded.

    The log may grow meanwhile: the check sees one moment of it.
    """
    with _snapshot():
        head = LogHead.objects.first()
        if head is None:
            faults = ["The head of the log is missing."] if LogEntry.objects.exists() else []
            result = Result(1, Link(0, GENESIS), faults, at_head=True)
        else:
            begin = Link(head.begin_seq, bytes(head.begin_hash))
            result = _walk(begin, most=None)
            result.faults += [*_begin_faults(begin), *_end_faults(result, head)]
        result.faults += [*_unnumbered(result.first), *_unexpected(expected, head)]
    return result


def verify_part(after: Link | None, *, most: int) -> Result:
    """Check up to `most` entries, from the end of an earlier check or from the first entry.

    The entry at that end must still have the hash that the earlier check has computed.
    """
    with _snapshot():
        head = LogHead.objects.first()
        if head is None:
            return verify()
        begin = Link(head.begin_seq, bytes(head.begin_hash))
        starts_over = after is None or after.seq < begin.seq
        start = begin if starts_over or after is None else after

        result = _walk(start, most=most)
        if start is begin:
            result.faults += _begin_faults(begin)
        else:
            result.faults += _unexpected([start], head)
        if result.at_head:
            result.faults += _end_faults(result, head)
    return result


def _walk(start: Link, *, most: int | None) -> Result:
    """Check the entries after `start`. After a fault, go on with the hash that is stored."""
    result = Result(start.seq + 1, start)
    left = most
    while True:
        page = min(PAGE, left) if left is not None else PAGE
        entries = list(
            LogEntry.objects.filter(seq__gt=result.last.seq).order_by("seq", "id")[:page]
        )
        for entry in entries:
            result.faults += _faults_of(entry, result.last)
            result.last = Link(entry.seq, bytes(entry.hash))
        if len(entries) < page:
            result.at_head = True
            return result
        left = left - len(entries) if left is not None else None
        if left == 0 or len(result.faults) >= MOST_FAULTS:
            return result


def _faults_of(entry: LogEntry, previous: Link) -> Iterator[str]:
    if entry.seq > previous.seq + 1:
        missing = f"{previous.seq + 1} to {entry.seq - 1}"
        if entry.seq == previous.seq + 2:
            missing = str(previous.seq + 1)
        yield f"Missing: {missing}, before {_named(entry)}. Removed from the log."
    elif entry.seq <= previous.seq:
        yield f"Inserted: {_named(entry)} has a number that another entry has."
    elif bytes(entry.hash) != entry_hash(previous.hash, entry):
        yield (
            f"Changed, moved or inserted: {_named(entry)} does not have the hash of its columns"
            f" after entry {previous.seq}."
        )


def _begin_faults(begin: Link) -> Iterator[str]:
    """Compare the beginning of the log with the last deletion of old entries that it records."""
    recorded = (
        LogEntry.objects.filter(action=PURGE_ACTION)
        .exclude(subject="")
        .order_by("-seq")
        .values_list("subject", flat=True)
        .first()
    )
    wanted = recorded or str(Link(0, GENESIS))
    if str(begin) != wanted:
        yield (
            f"Removed: the log begins after entry {begin.seq}, but the last recorded deletion ends"
            f" at entry {wanted.partition(':')[0]}."
        )


def _end_faults(result: Result, head: LogHead) -> Iterator[str]:
    end = Link(head.seq, bytes(head.hash))
    if result.at_head and result.last != end:
        kind = "Removed" if result.last.seq < end.seq else "Changed"
        yield f"{kind}: the log ends at entry {result.last.seq}, its head is entry {end.seq}."


def _unnumbered(first: int) -> Iterator[str]:
    """Find entries outside the chain: with a number that no entry after its beginning has."""
    for entry in LogEntry.objects.filter(seq__lt=first).order_by("id")[:MOST_FAULTS]:
        yield f"Inserted: {_named(entry)} is outside the chain."


def _unexpected(expected: Sequence[Link], head: LogHead | None) -> Iterator[str]:
    for link in expected:
        if head is not None and link.seq == head.begin_seq:
            found: bytes | None = bytes(head.begin_hash)
        else:
            stored = LogEntry.objects.filter(seq=link.seq).values_list("hash", flat=True).first()
            found = None if stored is None else bytes(stored)
        if found is None:
            old = head is not None and link.seq < head.begin_seq
            yield f"Entry {link.seq} was expected, but it " + (
                "is deleted for its age. Compare a newer one." if old else "is missing. Removed."
            )
        elif found != link.hash:
            yield f"Changed: entry {link.seq} was expected with another hash."


def _named(entry: LogEntry) -> str:
    return f"entry {entry.seq} ({entry.id}, {entry.at:%Y-%m-%d %H:%M:%S} UTC, {entry.who})"


def _with_length(value: str | None) -> bytes:
    if value is None:
        return b"-"
    encoded = value.encode()
    return b"%d:%b" % (len(encoded), encoded)


@contextmanager
def _snapshot() -> Iterator[None]:
    """Let all statements see the same moment, unless the caller has begun a transaction."""
    begins = not connection.in_atomic_block
    with transaction.atomic():
        if begins:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield
