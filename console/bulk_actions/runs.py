"""Runs: a draft freezes the sagas, its author confirms it, and the worker acts on each saga.

Every change of a run's state locks its row first, so a second click or a second person finds it
changed. `console.bulk_actions.worker` acts on the items of a run that has started.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
from django.contrib.auth.models import AnonymousUser, User
from django.db import transaction
from django.db.models.functions import Now

from console.bulk_actions.action import Action, StepAction
from console.bulk_actions.allowance import allowances, lock_allowance
from console.bulk_actions.log import log, summary
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.registry import get_action, is_permitted
from console.bulk_actions.results import (
    NotAllowed,
    StalePreview,
    StateConflict,
    WrongNumberOfOrders,
)
from console.bulk_actions.worker import LEASE
from console.models import Run, RunItem
from console.partial_reader import PartialReader
from console.saga_pages import find_kinds
from console.visible_kinds import kinds_to_view, visible_kinds
from sagas.definition.hold_scope import HoldScope
from sagas.kinds import SagaKind
from staff.models import LogEntry
from staff.policy import decide, may_view

__all__ = [
    "DECIDE",
    "MOST_ORDERS",
    "approve",
    "confirm",
    "decline",
    "draft",
    "draft_for_step",
    "kinds_of_run",
    "kinds_of_runs",
    "preview",
    "request",
]

# Sagas in one run: few enough for a person to review before it starts.
MOST_ORDERS = 1_000

# The policy's name for approving and declining.
DECIDE = "decide_run"

# The scope of an action on whole sagas.
NO_STEP = HoldScope("")

# Characters, as the column has them.
MOST_REFERENCE = 255


def draft(
    action: str, orders: Sequence[UUID], *, by: User, step: str = "", via: str = "console"
) -> Run:
    """Create a draft for these sagas, or for a step of each. Nothing is done to any of them.

    Raises `WrongNumberOfOrders`, `UnknownAction`, or `NotAllowed` if the person may not view them.
    """
    known = get_action(action)
    frozen = list(dict.fromkeys(orders))

    if not frozen:
        raise WrongNumberOfOrders(
            "None of the selected sagas is still in the list. Reload the list and select again."
        )
    if len(frozen) > MOST_ORDERS:
        raise WrongNumberOfOrders(
            f"A run takes at most {MOST_ORDERS:,} sagas. Select fewer, and make several runs."
        )
    _check_view(known.name, by, kinds_to_view(by, frozen))
    return _create(known, frozen, by=by, scope=HoldScope(step), via=via)


def draft_for_step(
    action: str, step: str, *, by: User, destination: str = "", via: str = "console"
) -> Run:
    """Create a draft about a step of all sagas, or its calls to a destination. Nothing is done.

    Raises `NotAllowed` if the person may not view all sagas that may have the step, and
    `ActionRejected` if the action cannot be about the destination.
    """
    known = get_action(action)
    scope = HoldScope(step, destination)
    _check_view(known.name, by, kinds_to_view(by, (), step))
    if isinstance(known, StepAction):
        known.check_scope(scope)
    return _create(known, [None], by=by, scope=scope, via=via)


def preview(run: Run) -> Impact:
    """Return what a run would change if it started now."""
    queries = OrderQueries(_orders(run), destination=run.destination)
    return get_action(run.action).preview(queries, run.step)


def kinds_of_run(run: Run, user: User | AnonymousUser) -> list[SagaKind]:
    """Return the kinds that a user must be permitted to view, to see or change a run.

    See `console.visible_kinds.kinds_to_view`.
    """
    if not visible_kinds(user).hidden:
        return kinds_to_view(user, (), run.step)  # all, without the run's items
    return kinds_to_view(user, _orders(run), run.step)


def kinds_of_runs(
    runs: Sequence[Run], user: User | AnonymousUser, reader: PartialReader
) -> dict[UUID, list[SagaKind]]:
    """Return the kinds of several runs, as `kinds_of_run` does. All sagas are looked up at once."""
    if not visible_kinds(user).hidden:
        return {run.id: kinds_to_view(user, ()) for run in runs}

    sagas: dict[UUID, list[UUID]] = defaultdict(list)
    for run_id, saga in RunItem.objects.filter(run__in=runs).values_list("run_id", "order_id"):
        if saga:
            sagas[run_id].append(saga)

    found = find_kinds((saga for each in sagas.values() for saga in each), reader)
    return {run.id: kinds_to_view(user, sagas[run.id], run.step, found=found) for run in runs}


def confirm(
    run_id: UUID,
    *,
    by: User,
    reason: str,
    fingerprint: str,
    reference: str = "",
    leased: bool = False,
) -> Run:
    """Start one's own draft, or send it for approval if it exceeds the person's allowance.

    See `console.bulk_actions.allowance`: refunds count by person, rolling day and currency.

    `fingerprint` is that of the preview which the operator has seen. It is compared only for
    actions with `exact_preview`. `reference` is evidence beside the reason, for an action that
    takes one. `leased`: the items of a run that starts are leased to the caller, who then calls
    `worker.act_on`. If the caller dies, a worker takes over.

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
        _start_or_await_approval(run, by, impact, leased=leased)
    return run


def request(action: str, order: UUID, *, by: User, reason: str, via: str) -> Run:
    """Make a run for one saga without a draft, and start it or send it for approval.

    A run that starts has its item leased to the caller, who then calls `worker.act_on`. If the
    caller dies, a worker takes over. Raises `NotAllowed` or `UnknownAction`.
    """
    known = get_action(action)
    reason = reason.strip()
    _check_reason(reason)
    _check_view(known.name, by, kinds_to_view(by, [order]))
    impact = known.preview(OrderQueries([order]), "")
    _check_reachable(impact)

    with transaction.atomic():
        run = _create(known, [order], by=by, via=via)
        run.reason = reason
        _start_or_await_approval(run, by, impact, leased=True)
    return run


def approve(run_id: UUID, *, by: User, fingerprint: str) -> Run:
    """Start a run that another person requested.

    `fingerprint` is that of the preview which the approver has seen. It is compared only for
    actions with `exact_preview`. Raises `NotAllowed`, `StalePreview` or `StateConflict`.
    """
    seen = Run.objects.get(id=run_id)
    kinds = _kinds_for(by.pk, seen)
    requested_kinds = _kinds_for(seen.requested_by_id, seen)
    _check_view(DECIDE, by, kinds)
    _check_preview(seen, fingerprint)

    with transaction.atomic():
        run = _lock_for_decision(run_id, by, kinds)
        requester = User.objects.get(pk=run.requested_by_id)
        if not is_permitted(requester, run.action, kinds=requested_kinds):
            raise NotAllowed(
                f"{requester.get_username()} no longer has permission for this action. Decline the"
                " run. Another person may request it again."
            )
        _start(run)
        log(run, by, LogEntry.Kind.APPROVED, {}, via="console")
    return run


def decline(run_id: UUID, *, by: User) -> Run:
    """End a run that another person requested, before it starts.

    Raises `NotAllowed` or `StateConflict`.
    """
    kinds = _kinds_for(by.pk, Run.objects.get(id=run_id))
    with transaction.atomic():
        run = _lock_for_decision(run_id, by, kinds)
        run.state = Run.State.DECLINED
        run.ended_at = Now()
        run.save()
        log(run, by, LogEntry.Kind.DECLINED, {}, via="console")
    return run


def _create(
    action: Action,
    orders: Sequence[UUID | None],
    *,
    by: User,
    scope: HoldScope = NO_STEP,
    via: str,
) -> Run:
    with transaction.atomic():
        run = Run.objects.create(action=action.name, **scope._asdict(), requested_by=by, via=via)
        RunItem.objects.bulk_create(RunItem(run=run, order_id=order) for order in orders)
    return run


def _kinds_for(user_id: int, run: Run) -> list[SagaKind]:
    """Return the kinds of a run for a person with the permissions of now.

    Call it before the run is locked, because it asks the databases of other services.
    """
    return kinds_of_run(run, User.objects.get(pk=user_id))


def _check_person(run: Run, by: User) -> None:
    if run.requested_by_id != by.pk:
        raise NotAllowed("Only the author of this draft can confirm it. Make a draft of your own.")
    if not is_permitted(by, run.action):
        raise NotAllowed(
            f"You no longer have permission for “{run.get_action_display()}”."
            " Ask an operator or approver who has it."
        )
    _check_view(run.action, by, kinds_of_run(run, by))


def _check_view(action: str, by: User, kinds: Collection[SagaKind]) -> None:
    """Raise `NotAllowed` if the policy refuses an action because of the kinds of its sagas."""
    if all(may_view(by, kind) for kind in kinds):
        return
    raise NotAllowed(decide(by, action, kinds=kinds).reason)


def _orders(run: Run) -> list[UUID]:
    return [order for order in run.items.values_list("order_id", flat=True) if order]


def _check_evidence(run: Run, reason: str, reference: str) -> None:
    required = get_action(run.action).required_reference(run.step)
    _check_reason(reason)
    if required and not reference:
        raise NotAllowed(f"Give the {required}: it is kept as evidence.")
    if len(reference) > MOST_REFERENCE:
        raise NotAllowed(
            f"A reference has at most {MOST_REFERENCE} characters. Put the rest into the reason."
        )


def _check_reason(reason: str) -> None:
    if not reason:
        raise NotAllowed("Give a reason: it is kept in the log.")


def _check_preview(run: Run, fingerprint: str) -> Impact:
    """Return the impact of a run now, if it may be confirmed on the preview that was seen."""
    impact = preview(run)
    _check_reachable(impact)
    if get_action(run.action).exact_preview and impact.fingerprint != fingerprint:
        raise StalePreview("The impact has changed since you saw it. Check the new preview below.")
    return impact


def _check_reachable(impact: Impact) -> None:
    if impact.unreachable:
        raise NotAllowed(
            f"The database of {', '.join(impact.unreachable)} does not answer, so the impact is"
            " unknown. Try again once it answers."
        )


def _lock(run_id: UUID, *, expected: str) -> Run:
    run = Run.objects.select_for_update(of=("self",)).get(id=run_id)
    if run.state != expected:
        raise StateConflict(f"This run is already {run.get_state_display()}.")
    return run


def _lock_for_decision(run_id: UUID, by: User, kinds: Collection[SagaKind]) -> Run:
    run = _lock(run_id, expected=Run.State.AWAITING)
    if run.requested_by_id == by.pk:
        raise NotAllowed("You requested this run, so another person must approve or decline it.")

    # Read again, because the permission may have been taken since the person opened the page.
    person = User.objects.get(pk=by.pk)
    decision = decide(person, DECIDE, run, kinds=kinds)
    if not decision.allowed:
        raise NotAllowed(decision.reason)
    run.decided_by = by
    run.decided_at = Now()
    return run


def _start_or_await_approval(run: Run, by: User, impact: Impact, *, leased: bool = False) -> None:
    """Start a run, unless its refunds exceed what the person may refund alone within a day."""
    lock_allowance(by)
    exceeded = [found for found in allowances(by, impact) if found.is_exceeded]
    run.radius = msgspec.to_builtins(impact)
    run.confirmed_at = Now()

    if not exceeded:
        _start(run, leased=leased)
        log(run, by, LogEntry.Kind.REQUESTED, {"outcome": summary(impact)})
        return

    run.state = Run.State.AWAITING
    run.over_limit = msgspec.to_builtins(exceeded)
    run.save()
    outcome = " ".join([summary(impact), *(found.in_words for found in exceeded)])
    log(run, by, LogEntry.Kind.AWAITING, {"outcome": outcome})


def _start(run: Run, *, leased: bool = False) -> None:
    """Start a run: its items become due for the worker, or are leased to the caller."""
    run.state = Run.State.RUNNING
    run.save()
    if leased:
        run.items.update(due_at=Now() + timedelta(seconds=LEASE), attempts=1)
    else:
        run.items.update(due_at=Now())
