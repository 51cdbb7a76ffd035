"""Runs: made as a draft that freezes its orders, confirmed by whoever made it, worked off row by
row.

Whoever moves the run's state does it with its row locked, so that a second click, or a second
person, finds it moved. A row is leased, acted on with no transaction of ours open, and settled
once; a worker that dies leaves a lease that runs out. Every action may be done twice, so a row that
is acted on twice has one effect.
"""

import logging
from collections.abc import Sequence
from uuid import UUID

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.db.models.functions import Now

from console.bulk_actions.actions.mark_done import asks_for
from console.bulk_actions.effects import effect_of
from console.bulk_actions.preview import Radius
from console.bulk_actions.reach import radius_now
from console.bulk_actions.results import Effect
from console.failures.grouping import Failing, failing
from console.models import Action, LogEntry, Run, RunItem
from console.permissions import may
from sagas.storage import sql

__all__ = [
    "MOST_ORDERS",
    "Changed",
    "Moved",
    "NotNow",
    "Refused",
    "TooMany",
    "approve",
    "begin",
    "begin_for_all",
    "confirm",
    "decline",
    "work_once",
]

logger = logging.getLogger(__name__)

# What one run may be about: few enough to be looked at as a whole before it starts.
MOST_ORDERS = 1_000

# Characters, as the column has them.
MOST_REFERENCE = 255

# What takes something back: it must be confirmed as it was shown, to the last minor unit.
TAKES_BACK = {Action.CANCEL, Action.BY_HAND}

# Rows that one worker leases at once, for so many seconds; and tries after which a row is left with
# its error.
BATCH = 20
LEASE = 60
TRIES = 5

# Characters of an error that the log keeps with each order.
MOST_ABOUT = 300

CLAIM = sql.lease_statement(
    "console_runitem",
    due="due_at",
    condition="state = 'pending'",
    changes=["attempts = attempts + 1"],
    returning="id",
)

END = """
UPDATE console_run r SET state = 'ended', ended_at = clock_timestamp()
 WHERE r.state = 'running'
   AND NOT EXISTS (SELECT 1 FROM console_runitem i WHERE i.run_id = r.id AND i.state = 'pending')
RETURNING r.id
"""


class NotNow(Exception):
    """What was asked for is not done, and the text says what to do."""


class TooMany(NotNow):
    """More orders than one run may be about, or none."""


class Moved(NotNow):
    """The run is not where it was looked at: somebody has moved it on meanwhile."""


class Changed(NotNow):
    """What the run would do is not what was looked at."""


class Refused(NotNow):
    """This person may not, or not like this."""


def begin(action: str, orders: Sequence[UUID], *, by: User, step: str = "") -> Run:
    """Make a draft for these orders, or for a step of each. Raises `TooMany`. Nothing is done to
    any of them.
    """
    frozen = list(dict.fromkeys(orders))
    if not frozen:
        raise TooMany(
            "Of what was selected no order is left in the list: it has changed. Look again, then select."
        )
    if len(frozen) > MOST_ORDERS:
        raise TooMany(
            f"A run is about at most {MOST_ORDERS:,} orders. Select fewer, and make several runs."
        )
    with transaction.atomic():
        run = Run.objects.create(action=Action(action), step=step, requested_by=by)
        RunItem.objects.bulk_create(RunItem(run=run, order_id=order) for order in frozen)
    return run


def begin_for_all(action: str, step: str, *, by: User) -> Run:
    """Make a draft about a step of all orders. Nothing is done."""
    with transaction.atomic():
        run = Run.objects.create(action=Action(action), step=step, requested_by=by)
        RunItem.objects.create(run=run)
    return run


def confirm(run_id: UUID, *, by: User, reason: str, seen: str, reference: str = "") -> Run:
    """Start a draft of one's own, or have it await approval. `seen` is the fingerprint of the
    radius that was shown.

    `reference` is evidence beside the reason, for what is marked as done by hand.
    Raises `Moved`, `Changed`, or `Refused`.
    """
    run = Run.objects.get(id=run_id)
    if run.requested_by_id != by.pk:
        raise Refused("Only who made this draft may confirm it. Make one of your own.")
    if not may(by, run.action):
        raise Refused("You may not do this any more. Ask somebody who may.")
    if not reason.strip():
        raise Refused("Say why: the reason is kept with the run.")
    if run.action == Action.BY_HAND and asks_for(run.step) and not reference.strip():
        raise Refused(f"Give the {asks_for(run.step)}: it is kept as evidence.")
    if len(reference.strip()) > MOST_REFERENCE:
        raise Refused(
            f"A reference has at most {MOST_REFERENCE} characters. Put the rest into the reason."
        )
    radius = _as_seen(run, seen)
    awaiting = _needs_approval(radius)
    with transaction.atomic():
        run = _locked(run_id, Run.State.DRAFT)
        run.reason, run.radius, run.confirmed_at = (
            reason.strip(),
            msgspec.to_builtins(radius),
            Now(),
        )
        run.reference = reference.strip()
        run.state = Run.State.AWAITING if awaiting else Run.State.RUNNING
        run.save()
        _log(
            run,
            by,
            LogEntry.What.AWAITING if awaiting else LogEntry.What.REQUESTED,
            _worded(radius),
        )
        if not awaiting:
            _release(run)
    return run


def approve(run_id: UUID, *, by: User, seen: str) -> Run:
    """Start what another person has requested, if it would do what was shown. Raises `Moved`,
    `Changed`, `Refused`.
    """
    _as_seen(Run.objects.get(id=run_id), seen)
    return _decide(run_id, by, Run.State.RUNNING, LogEntry.What.APPROVED)


def decline(run_id: UUID, *, by: User) -> Run:
    """Have what another person has requested never run. Raises `Moved` or `Refused`."""
    return _decide(run_id, by, Run.State.DECLINED, LogEntry.What.DECLINED)


def work_once() -> int:
    """Act on the rows that are due longest, and end the runs that have none left; return how
    many rows.
    """
    claimed = [row for (row,) in sql.fetch("default", CLAIM, {"lease": LEASE, "limit": BATCH})]
    items = list(RunItem.objects.filter(id__in=claimed).select_related("run__requested_by"))
    failed = failing(
        [item.order_id for item in items if item.order_id]
    )  # before anything is done about it
    for item in items:
        effect = _acted(item)
        if effect:
            _settle(item, effect, failed.get(item.order_id) if item.order_id else None)
    _end()
    return len(items)


def _as_seen(run: Run, seen: str) -> Radius:
    """Return what a run would do now, if that is what was looked at."""
    radius = radius_now(run)
    if radius.unreachable:
        raise Refused(
            f"{', '.join(radius.unreachable)} cannot be asked what would happen. Wait until it answers."
        )
    if run.action in TAKES_BACK and radius.fingerprint != seen:  # the others take nothing back
        raise Changed("What it would do has changed since it was shown. Look again, then decide.")
    return radius


def _needs_approval(radius: Radius) -> bool:
    limit: int = settings.CONSOLE_REFUND_LIMIT
    return any(amount > limit for amount in radius.refunds.values())


def _decide(run_id: UUID, by: User, state: str, what: str) -> Run:
    with transaction.atomic():
        run = _locked(run_id, Run.State.AWAITING)
        if run.requested_by_id == by.pk:
            raise Refused("Another person than who requested it must decide.")
        run.state, run.decided_by = state, by
        if state == Run.State.DECLINED:
            run.ended_at = Now()
        run.save()
        _log(run, by, what, "")
        if state == Run.State.RUNNING:
            _release(run)
    return run


def _locked(run_id: UUID, state: str) -> Run:
    run = Run.objects.select_for_update(of=("self",)).get(id=run_id)
    if run.state != state:
        raise Moved(f"It is {run.get_state_display()} already.")
    return run


def _release(run: Run) -> None:
    run.items.update(due_at=Now())


def _acted(item: RunItem) -> Effect | None:
    """Act on a row; None where it is to be tried again. Whatever is raised holds up no other
    row, and is told.
    """
    try:
        return effect_of(item)
    except Exception as error:
        logger.warning("%s of %s failed", item.run.action, item.order_id, exc_info=True)
        for connection in connections.all(initialized_only=True):
            connection.close_if_unusable_or_obsolete()
        if item.attempts < TRIES:
            return None
        return Effect(RunItem.State.FAILED, f"Given up after {TRIES} tries: {error}")


def _settle(item: RunItem, effect: Effect, failed: Failing | None) -> None:
    with transaction.atomic():
        open_ = RunItem.objects.filter(id=item.id, state=RunItem.State.PENDING)
        if open_.update(state=effect.state, outcome=effect.said, ended_at=Now()):
            about = {"failure": failed.key, "about": failed.about[:MOST_ABOUT]} if failed else {}
            _log(
                item.run,
                item.run.requested_by,
                LogEntry.What.ACTED,
                effect.said,
                order_id=item.order_id,
                **about,
            )


def _end() -> None:
    """End every run that has no row left: also one whose last row was settled by a worker that
    died.
    """
    with transaction.atomic():
        for (run_id,) in sql.fetch("default", END, {}):
            run = Run.objects.select_related("requested_by").get(id=run_id)
            states = list(run.items.values_list("state", flat=True))
            counted = ", ".join(
                f"{states.count(state)} {state.label}" for state in RunItem.State if state in states
            )
            _log(run, run.requested_by, LogEntry.What.ENDED, f"{counted}.")


def _log(run: Run, who: User, what: str, outcome: str, **of_order: UUID | str | None) -> None:
    LogEntry.objects.create(
        who=who.get_username(),
        what=what,
        action=run.action,
        step=run.step,
        run=run.id,
        why=run.reason,
        outcome=outcome,
        **of_order,
    )


def _worded(radius: Radius) -> str:
    money = (
        ", ".join(f"{amount} {currency}" for currency, amount in radius.refunds.items())
        or "nothing"
    )
    return (
        f"{radius.affected} of {radius.orders} orders, {money} to refund (minor units), {radius.pieces} pieces, "
        f"{radius.unknown} of unknown outcome, {radius.messages} messages."
    )
