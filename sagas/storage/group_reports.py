"""The last words of the branches of a parallel group, taken together.

A branch reports a hold, an agreed wait or a need for attention, and then goes on. Its report says
nothing about the other branches. So what the whole saga waits for follows from the last word of
each branch.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sagas import sql
from sagas.definition.events import (
    NEEDS_ATTENTION,
    ON_HOLD,
    WAITS_UNTIL,
    is_notice,
    is_refusal,
    notice_types,
)
from sagas.definition.messages import TimelineEntry
from sagas.storage.registry import Home

__all__ = ["Report", "informing_types", "of_entry", "of_group", "only_informs"]

# All words of the branches, oldest first
WORDS = """
SELECT step, type, detail ? %(wait)s, (detail ->> %(wait)s)::timestamptz
  FROM {timeline}
 WHERE saga = %(saga)s AND step = ANY(%(steps)s::text[])
 ORDER BY at, seq, id
"""


class Report(NamedTuple):
    """The progress of a saga by its timeline.

    `on_hold` is the step that waits, or empty. `waits_until` is the end of an agreed wait, or None.
    """

    needs_attention: bool
    on_hold: str
    waits_until: datetime | None


class _Word(NamedTuple):
    step: str
    type: str
    waits_until: datetime | None


NOTHING = Report(needs_attention=False, on_hold="", waits_until=None)


def only_informs(type_: str, *, waits: bool) -> bool:
    """Return whether an entry is a notice that says nothing about the progress of its saga.

    `waits`: it has the end of an agreed wait.
    """
    return is_notice(type_) and type_ not in {NEEDS_ATTENTION, ON_HOLD} and not waits


def informing_types() -> list[str]:
    """Return the types of notices that say nothing about progress, unless they name a wait."""
    return sorted(notice_types() - {NEEDS_ATTENTION, ON_HOLD})


def of_entry(entry: TimelineEntry) -> Report:
    """Return the report of an entry whose step runs alone."""
    return _of_word(_Word(entry.step, entry.type, entry.detail.get(WAITS_UNTIL)))


def of_group(home: Home, entry: TimelineEntry) -> Report:
    """Return the report of all branches, of which `entry`, a recorded one, is one.

    The saga waits as agreed until the last of its waits ends, unless a branch has said nothing yet:
    its message may be lost. After a refusal it waits for nothing, because its compensation begins.
    """
    branches = (entry.step, *entry.beside)
    statement = WORDS.format(timeline=home.timeline._meta.db_table)
    params = {"saga": entry.saga, "steps": sql.array_literal(branches), "wait": WAITS_UNTIL}
    last = {
        step: _Word(step, type_, waits_until)
        for step, type_, waits, waits_until in sql.fetch(home.alias, statement, params)
        if not only_informs(type_, waits=waits)
    }
    if any(is_refusal(word.type) for word in last.values()):
        return NOTHING
    return _together(map(_of_word, last.values()), all_have_begun=len(last) == len(branches))


def _of_word(word: _Word) -> Report:
    return Report(
        needs_attention=word.type == NEEDS_ATTENTION,
        on_hold=word.step if word.type == ON_HOLD else "",
        waits_until=word.waits_until,
    )


def _together(reports: Iterable[Report], *, all_have_begun: bool) -> Report:
    found = sorted(reports, key=lambda report: report.on_hold)
    waits = [report.waits_until for report in found if report.waits_until is not None]
    return Report(
        needs_attention=any(report.needs_attention for report in found),
        on_hold=next((report.on_hold for report in found if report.on_hold), ""),
        waits_until=max(waits) if waits and all_have_begun else None,
    )
