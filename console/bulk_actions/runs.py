"""Runs: a draft freezes the orders, its author confirms it, and the worker acts on each order.

Every change of a run's state locks its row first, so a second click or a second person finds it
changed. `console.bulk_actions.worker` acts on the items of a run that has started.
"""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.functions import Now

from console.bulk_actions.log import log, summary
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.registry import get_action, is_permitted
from console.bulk_actions.results import (
    NotAllowed,
    StalePreview,
    StateConflict,
    WrongNumberOfOrders,
)
from console.models import LogEntry, Run, RunItem

__all__ = [
    "MOST_ORDERS",
    "approve",
    "confirm",
    "decline",
    "draft",
    "draft_for_step",
    "preview",
]

# Orders in one run: few enough for a person to review before it starts.
MOST_ORDERS = 1_000

# Characters, as the column has them.
MOST_REFERENCE = 255


def draft(action: str, orders: Sequence[UUID], *, by: User, step: str = "") -> Run:
    """Create a draft for these orders, or for a step of each. Nothing is done to any of them.

    Raises `WrongNumberOfOrders` or `UnknownAction`.
    """
    known = get_action(action)
    frozen = list(dict.fromkeys(orders))

    if not frozen:
        raise WrongNumberOfOrders(
            "None of the selected orders is still in the list. Reload the list and select again."
        )
    if len(frozen) > MOST_ORDERS:
        raise WrongNumberOfOrders(
            f"A run takes at most {MOST_ORDERS:,} orders. Select fewer, and make several runs."
        )

    with transaction.atomic():
        run = Run.objects.create(action=known.name, step=step, requested_by=by)
        RunItem.objects.bulk_create(RunItem(run=run, order_id=order) for order in frozen)
    return run


def draft_for_step(action: str, step: str, *, by: User) -> Run:
    """Create a draft about a step of all orders. Nothing is done."""
    known = get_action(action)
    with transaction.atomic():
        run = Run.objects.create(action=known.name, step=step, requested_by=by)
        RunItem.objects.create(run=run)
    return run


def preview(run: Run) -> Impact:
    """Return what a run would change if it started now."""
    orders = [order for order in run.items.values_list("order_id", flat=True) if order]
    return get_action(run.action).preview(OrderQueries(orders), run.step)


def confirm(run_id: UUID, *, by: User, reason: str, fingerprint: str, reference: str = "") -> Run:
    """Start one's own draft, or send it for approval if its refunds may exceed
    CONSOLE_REFUND_LIMIT.

    `fingerprint` is that of the preview which the operator has seen. It is compared only for
    actions with `exact_preview`. `reference` is evidence beside the reason, for an action that
    takes one.
    Raises `NotAllowed`, `StalePreview` or `StateConflict`.
    """
    reason, reference = reason.strip(), reference.strip()

    seen = Run.objects.get(id=run_id)
    _check_person(seen, by)
    _check_evidence(seen, reason, reference)
    impact = _check_preview(seen, fingerprint)

    with transaction.atomic():
        run = _lock(run_id, expected=Run.State.DRAFT)
        run.reason = reason
        run.reference = reference
        run.radius = msgspec.to_builtins(impact)
        run.confirmed_at = Now()

        if _needs_approval(impact):
            _await_approval(run)
            log(run, by, LogEntry.Kind.AWAITING, summary(impact))
        else:
            _start(run)
            log(run, by, LogEntry.Kind.REQUESTED, summary(impact))
    return run


def approve(run_id: UUID, *, by: User, fingerprint: str) -> Run:
    """Start a run that another person requested.

    `fingerprint` is that of the preview which the approver has seen. It is compared only for
    actions with `exact_preview`. Raises `NotAllowed`, `StalePreview` or `StateConflict`.
    """
    _check_preview(Run.objects.get(id=run_id), fingerprint)

    with transaction.atomic():
        run = _lock_for_decision(run_id, by)
        _start(run)
        log(run, by, LogEntry.Kind.APPROVED)
    return run


def decline(run_id: UUID, *, by: User) -> Run:
    """End a run that another person requested, before it starts.

    Raises `NotAllowed` or `StateConflict`.
    """
    with transaction.atomic():
        run = _lock_for_decision(run_id, by)
        run.state = Run.State.DECLINED
        run.ended_at = Now()
        run.save()
        log(run, by, LogEntry.Kind.DECLINED)
    return run


def _check_person(run: Run, by: User) -> None:
    if run.requested_by_id != by.pk:
        raise NotAllowed("Only the author of this draft can confirm it. Make a draft of your own.")
    if not is_permitted(by, run.action):
        raise NotAllowed(
            f"You no longer have permission for “{run.get_action_display()}”."
            " Ask an operator or approver who has it."
        )


def _check_evidence(run: Run, reason: str, reference: str) -> None:
    required = get_action(run.action).required_reference(run.step)
    if not reason:
        raise NotAllowed("Give a reason: it is kept in the log.")
    if required and not reference:
        raise NotAllowed(f"Give the {required}: it is kept as evidence.")
    if len(reference) > MOST_REFERENCE:
        raise NotAllowed(
            f"A reference has at most {MOST_REFERENCE} characters. Put the rest into the reason."
        )


def _check_preview(run: Run, fingerprint: str) -> Impact:
    """Return the impact of a run now, if it may be confirmed on the preview that was seen."""
    impact = preview(run)
    if impact.unreachable:
        raise NotAllowed(
            f"The database of {', '.join(impact.unreachable)} does not answer, so the impact is"
            " unknown. Try again once it answers."
        )
    if get_action(run.action).exact_preview and impact.fingerprint != fingerprint:
        raise StalePreview("The impact has changed since you saw it. Check the new preview below.")
    return impact


def _needs_approval(impact: Impact) -> bool:
    """Tell whether the refunds may exceed the limit, if all undecided charges were captured."""
    limit: int = settings.CONSOLE_REFUND_LIMIT
    possible = Counter(impact.refunds) + Counter(impact.undecided)
    return any(amount > limit for amount in possible.values())


def _lock(run_id: UUID, *, expected: str) -> Run:
    run = Run.objects.select_for_update(of=("self",)).get(id=run_id)
    if run.state != expected:
        raise StateConflict(f"This run is already {run.get_state_display()}.")
    return run


def _lock_for_decision(run_id: UUID, by: User) -> Run:
    run = _lock(run_id, expected=Run.State.AWAITING)
    if run.requested_by_id == by.pk:
        raise NotAllowed("You requested this run, so another person must approve or decline it.")
    run.decided_by = by
    return run


def _await_approval(run: Run) -> None:
    run.state = Run.State.AWAITING
    run.save()


def _start(run: Run) -> None:
    """Start a run: its items become due for the worker."""
    run.state = Run.State.RUNNING
    run.save()
    run.items.update(due_at=Now())
