"""The runs that wait for a second person, and recent decisions, as notices on the start page.

An approver sees the runs of other people. A requester sees their own runs that wait, and for a day
the decisions on them.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Count, Q
from django.utils import timezone

from console.bulk_actions.allowance import exceeded_allowances
from console.bulk_actions.runs import DECIDE, kinds_of_runs
from console.models import Run
from console.own_service import own_service
from console.partial_reader import PartialReader
from sagas.kinds import SagaKind, all_kinds
from staff.policy import decide, may_view

__all__ = ["DecidedRun", "Notices", "WaitingRun", "count_to_decide", "notices_for"]

# Runs that are read, the oldest first, and how many of them a list shows.
MOST = 200
SHOWN = 20

# How long the requester sees a decision on the start page. The page of the run keeps it.
DECISIONS = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class WaitingRun:
    """A run that waits for a second person. `reasons` are sentences: the allowances it exceeds.

    A user who may not view all of its sagas gets no amounts, but the permissions that are missing.
    """

    id: UUID
    title: str
    orders: int
    requested_by: str
    is_own: bool
    since: datetime
    why: str
    reasons: list[str]


@dataclass(frozen=True, kw_only=True)
class DecidedRun:
    """A run of the user that another person approved or declined within the last day."""

    id: UUID
    title: str
    approved: bool
    decided_by: str


@dataclass(frozen=True, kw_only=True)
class Notices:
    """The notices for one user. `is_known` is False if the database of `service` did not
    answer.

    `number` counts the runs that the user may decide on, up to `MOST`; `to_decide` has the oldest.
    """

    to_decide: list[WaitingRun]
    number: int
    own_waiting: list[WaitingRun]
    own_decided: list[DecidedRun]
    is_known: bool
    service: str


def notices_for(user: User | AnonymousUser) -> Notices:
    """Return the notices for a user. The sagas of all shown runs are looked up at once."""
    reader = PartialReader()
    waiting = reader.read(own_service(), _awaiting)
    decided = reader.read(own_service(), lambda: _decided(user))

    own = [run for run in waiting if run.requested_by_id == user.pk]
    decides = decide(user, DECIDE).allowed
    others = [run for run in waiting if run.requested_by_id != user.pk] if decides else []

    shown = [*own[:SHOWN], *others[:SHOWN]]
    kinds = _kinds_of(shown, user, PartialReader(reader.unreachable))
    notices = [_waiting(run, user, kinds[run.id]) for run in shown]
    return Notices(
        to_decide=[run for run in notices if not run.is_own],
        number=len(others),
        own_waiting=[run for run in notices if run.is_own],
        own_decided=decided,
        is_known=not reader.unreachable,
        service=own_service(),
    )


def count_to_decide(user: User | AnonymousUser) -> int:
    """Count the runs of other people that wait for a second person, up to `MOST`."""
    waiting = Run.objects.filter(state=Run.State.AWAITING).exclude(requested_by=user.pk)
    return len(waiting.order_by("id").values_list("id")[:MOST])


def _awaiting() -> Iterable[Any]:
    """Return the runs that wait, each with the number of its sagas as `orders`."""
    runs = Run.objects.filter(state=Run.State.AWAITING).select_related("requested_by")
    orders = Count("items", filter=Q(items__order_id__isnull=False))
    return runs.annotate(orders=orders).order_by("id")[:MOST]


def _kinds_of(
    runs: Sequence[Run], user: User | AnonymousUser, reader: PartialReader
) -> dict[UUID, list[SagaKind]]:
    """Return the kinds of each run. A run whose items cannot be read may have sagas of any kind."""
    found = reader.read(own_service(), lambda: kinds_of_runs(runs, user, reader).items())
    return {**{run.id: all_kinds() for run in runs}, **dict(found)}


def _waiting(run: Any, user: User | AnonymousUser, kinds: Collection[SagaKind]) -> WaitingRun:
    return WaitingRun(
        id=run.id,
        title=str(run),
        orders=run.orders,
        requested_by=run.requested_by.get_username(),
        is_own=run.requested_by_id == user.pk,
        since=run.confirmed_at or run.created_at,
        why=run.reason,
        reasons=_reasons(run, user, kinds),
    )


def _reasons(run: Run, user: User | AnonymousUser, kinds: Collection[SagaKind]) -> list[str]:
    hidden = [kind for kind in kinds if not may_view(user, kind)]
    if hidden:
        return [f"You may not view {kind.plural} ({kind.view_permission})." for kind in hidden]
    return [found.in_words for found in exceeded_allowances(run)]


def _decided(user: User | AnonymousUser) -> Iterable[DecidedRun]:
    since = timezone.now() - DECISIONS
    runs = Run.objects.filter(requested_by=user.pk, decided_at__gt=since)
    for run in runs.select_related("decided_by").order_by("-decided_at")[:SHOWN]:
        yield DecidedRun(
            id=run.id,
            title=str(run),
            approved=run.state != Run.State.DECLINED,
            decided_by=run.decided_by.get_username() if run.decided_by else "",
        )
