"""Start a saga, cancel it, and tell its timeline something."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction

from sagas.definition.events import Event, Notice, Refusal
from sagas.definition.handlers import is_external
from sagas.definition.messages import Message, OutboxRow, TimelineEntry
from sagas.definition.plan import Plan, Saga, Step, service_name
from sagas.delivery.wakeup import request_flush
from sagas.failpoints import Point, reach
from sagas.observability import instrumentation
from sagas.sql import CommonTableExpressions
from sagas.storage import deadlines, inbox, outbox, timeline
from sagas.storage.registry import Home, Service, get_home, get_service, service_of_step

__all__ = [
    "CancelRequest",
    "CancelResult",
    "Plan",
    "TimelineEntry",
    "cancel_before_pivot",
    "cancels_at_home",
    "publish_notice",
    "request_cancel",
    "start",
]


class CancelResult(Enum):
    """Result of an attempt to cancel before the pivot.

    `OURS`: barred by this call. `DONE`: the pivot is done. `REFUSED`: the pivot was barred or
    refused before. `UNDECIDED`: the pivot is an external step that has started, and only the
    answer of the outside system will decide.
    """

    OURS = "ours"
    DONE = "done"
    REFUSED = "refused"
    UNDECIDED = "undecided"


class CancelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A saga to cancel, and the refusal event that says why.

    `plan` is the plan stored with the saga, not the one declared today. `context` is the context
    of the saga's messages. `seq` is the number of steps since the saga started, as the cancelling
    service knows it.
    """

    saga: UUID
    plan: Mapping[str, Any]
    started_at: datetime
    context: Mapping[str, Any]
    event: Refusal
    seq: int = 1

    def message(self) -> Message:
        """Return the request as a message for the inbox."""
        return Message(
            id=self.saga,
            saga=self.saga,
            started_at=self.started_at,
            seq=self.seq,
            context=dict(self.context),
        )

    def outbox_row(self, plan: Plan, *, target: str) -> OutboxRow:
        """Return the outbox row that publishes the event and sends the request to `target`."""
        failure = {"code": self.event.code, "detail": self.event.detail}

        return OutboxRow(
            saga=self.saga,
            started_at=self.started_at,
            seq=self.seq,
            type=self.event.type,
            step="",
            step_attempt=1,
            data=self.event.facts(),
            context={**self.context, "failure": failure},
            plan=plan,
            target=target,
            headers=instrumentation.new_headers(self.saga),
        )


def start(  # noqa: PLR0913  all but the first are named
    declaration: Saga,
    *,
    saga: UUID,
    started_at: datetime,
    event: Event,
    headers: Mapping[str, str] | None = None,
    with_rows: CommonTableExpressions | None = None,
    plan: Plan | None = None,
) -> None:
    """Start a saga inside the caller's transaction: write its first event to outbox and timeline.

    The fields of `event` become the context of the saga's messages. `started_at` is a time of the
    database's clock. The caller has inserted the tracked row before, or passes its insert as
    `with_rows`, which saves a round trip. Such an insert sets `rescue_at` to SAGA_STALL_SECONDS
    from now. Its parameters must not have the name of a parameter in `sagas.storage.outbox`. `plan`
    is the plan of the event (`Saga.plan_for`), if the caller has stored it in the tracked row.
    Raises TypeError as `Saga.plan_for` does, or if the home has several models of tracked rows:
    then use `sagas.start`.
    """
    plan = plan or declaration.plan_for(event)
    home, service = get_home(plan.home), get_service(plan.home)

    first = _first_row(plan, saga, started_at, event, headers)
    tracked = with_rows or timeline.start_cte(_only_table(home), saga)
    timeline.record_start(home, tracked, outbox.insert_cte(service, plan, first))
    if declaration.deadline is not None:
        deadlines.set_deadline(home, saga, started_at=started_at, deadline=declaration.deadline)

    _flush_on_commit(service, first)


def _only_table(home: Home) -> str:
    if len(home.tables) > 1:
        raise TypeError(
            f"{home.name} tracks its sagas in several tables: {', '.join(home.tables)}. Start the "
            "saga with sagas.start, which knows the table from the row."
        )
    return home.tables[0]


def cancel_before_pivot(request: CancelRequest) -> CancelResult:
    """Cancel a saga inside the caller's transaction in the pivot's database.

    The transaction that first makes the pivot's row final decides. An open row of a local pivot can
    still be barred; a started external pivot cannot. If this call bars the pivot, a message starts
    the compensation of all steps before it. The waits in the pivot's database then take no signal.
    Lock no domain row before this call, because the steps lock domain rows after inbox rows. Raises
    `ValueError` if the saga has no pivot.
    """
    plan = msgspec.convert(request.plan, Plan)
    pivot = _pivot_of(plan).name
    service = service_of_step(pivot)

    barred = inbox.bar(
        service,
        pivot,
        [request.message()],
        reason=request.event.detail,
        keep_open=is_external(pivot),
    )
    if not barred:
        return _decided_before(service, pivot, request.saga)

    _close_waits(service, plan, request)
    _write_and_flush(service, plan, request.outbox_row(plan, target=plan.after_cancel()))
    return CancelResult.OURS


def request_cancel(request: CancelRequest) -> None:
    """Ask the pivot's service to bar the pivot, inside the caller's transaction at the saga's home.

    That service decides whether the request comes in time. Then the saga is compensated from
    there, or it goes on forward. The caller makes sure to ask once. Raises `ValueError` if the
    pivot has no bar.
    """
    plan = msgspec.convert(request.plan, Plan)
    if plan.bar is None:
        raise ValueError(
            f"Cannot request a cancel of saga {plan.saga!r}: its pivot has no bar. "
            "Give the pivot's Step a bar, or cancel in the pivot's own database."
        )

    _write_and_flush(get_service(plan.home), plan, request.outbox_row(plan, target=plan.bar))


def publish_notice(service: str, saga: UUID, event: Notice) -> bool:
    """Publish a notice about a saga, inside the caller's transaction in the service's database.

    The saga's timeline shows it; the saga does not move because of it. Return False, and publish
    nothing, if the service has no message of the saga any more. Raises `UnknownService`.
    """
    found = get_service(service)
    newest = outbox.newest(found, saga)
    if newest is None:
        return False

    row = OutboxRow(
        saga=saga,
        started_at=newest.started_at,
        seq=newest.seq,
        type=event.type,
        step=newest.step,
        step_attempt=1,
        data=event.facts(),
        context=newest.context,
        plan=newest.plan,
        target=None,
        headers={},
    )
    _write_and_flush(found, newest.plan, row)
    return True


def cancels_at_home(plan: Mapping[str, Any]) -> bool:
    """Return whether the pivot of a plan is in the saga's home, which can then bar it itself."""
    stored_plan = msgspec.convert(plan, Plan)
    return service_name(_pivot_of(stored_plan).name) == stored_plan.home


def _pivot_of(plan: Plan) -> Step:
    if plan.pivot is None:
        raise ValueError(
            f"Cannot cancel saga {plan.saga!r}: it has no pivot, so nothing decides whether a "
            "cancel comes in time. Mark one Step with pivot=True."
        )
    return plan.pivot


def _close_waits(pivots: Service, plan: Plan, request: CancelRequest) -> None:
    """Bar the open waits before the pivot, where they are in the database of the pivot.

    Their undos bar them too, a moment later, and so all others.
    """
    for wait in plan.waits():
        service = service_of_step(wait)
        if service.alias == pivots.alias:
            inbox.bar(service, wait, [request.message()], reason=request.event.detail)


def _decided_before(service: Service, pivot: str, saga: UUID) -> CancelResult:
    if inbox.sagas_done(service, pivot, [saga]):
        return CancelResult.DONE
    if inbox.sagas_open(service, pivot, [saga]):
        return CancelResult.UNDECIDED
    return CancelResult.REFUSED


def _first_row(
    plan: Plan,
    saga: UUID,
    started_at: datetime,
    event: Event,
    headers: Mapping[str, str] | None,
) -> OutboxRow:
    facts = event.facts()

    return OutboxRow(
        saga=saga,
        started_at=started_at,
        seq=0,
        type=event.type,
        step="",
        step_attempt=1,
        data=facts,
        context=facts,
        plan=plan,
        target=plan.first,
        headers=instrumentation.new_headers(saga, headers),
    )


def _write_and_flush(service: Service, plan: Plan, row: OutboxRow) -> None:
    outbox.write(service, plan, [row], leased=False)
    _flush_on_commit(service, row)


def _flush_on_commit(service: Service, row: OutboxRow) -> None:
    reach(Point.UNCOMMITTED, row.type, [row])
    transaction.on_commit(
        partial(_request_flush, service.name, row), using=service.alias, robust=True
    )


def _request_flush(service: str, row: OutboxRow) -> None:
    reach(Point.FLUSH_NOT_REQUESTED, row.type, [row])
    request_flush(service)
