"""How a domain begins a saga, and how it calls one off."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction

from sagas.definition.events import Event, Refusal
from sagas.definition.handlers import is_external
from sagas.definition.messages import Message, OutboxRow
from sagas.definition.plan import Plan, Saga, Step, service_name
from sagas.delivery.wakeup import request_flush
from sagas.observability import instrumentation
from sagas.storage import inbox, outbox, timeline
from sagas.storage.registry import Service, get_home, get_service, service_of_step
from sagas.storage.sql import CommonTableExpressions
from sagas.testing.failpoints import Point, reach

__all__ = [
    "CancelRequest",
    "CancelResult",
    "cancel_before_pivot",
    "cancels_at_home",
    "request_cancel",
    "start",
]


class CancelResult(Enum):
    """Who decided whether the pivot happens: we did just now, it is done, or it had been refused
    before.

    Undecided: an outside system is being asked to do it, and only its answer tells.
    """

    OURS = "ours"
    DONE = "done"
    REFUSED = "refused"
    UNDECIDED = "undecided"


class CancelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A saga that is to be called off, and why. `plan` is the one stored with it, not today's.

    `context` is what travels with it; `seq`, the hops it had made where it is called off from.
    """

    saga: UUID
    plan: Mapping[str, Any]
    started_at: datetime
    context: Mapping[str, Any]
    event: Refusal
    seq: int = 1

    def message(self) -> Message:
        """Return it as the inbox takes it."""
        context = dict(self.context)
        return Message(
            id=self.saga, saga=self.saga, started_at=self.started_at, seq=self.seq, context=context
        )


def start(
    declaration: Saga,
    *,
    saga: UUID,
    started_at: datetime,
    event: Event,
    headers: Mapping[str, str] | None = None,
    with_rows: CommonTableExpressions | None = None,
) -> None:
    """Begin a saga inside the caller's transaction: its first event goes to outbox and timeline of
    the saga's home.

    The fields of `event` become the context that travels with the saga. `started_at` is by the
    database's clock. The tracked row is there already; or, where round trips matter, with_rows
    inserts it in the statement that writes the event, with `rescue_at` SAGA_STALL_SECONDS ahead.
    None of its parameters may have the name of one in `sagas.storage.outbox`.
    """
    plan = declaration.plan
    facts = event.facts()
    envelope = OutboxRow(
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
    home, service = get_home(plan.home), get_service(plan.home)
    if with_rows:
        timeline.begin(home, with_rows, outbox.insert_cte(service, plan, envelope))
    else:
        outbox.write(service, plan, [envelope], leased=False)
        timeline.record(home, [envelope.entry(home.name)])
    _flush_on_commit(service, envelope)


def cancel_before_pivot(request: CancelRequest) -> CancelResult:
    """Call a saga off inside the caller's transaction in the pivot's database, if its pivot has not
    happened.

    Whoever inserts the pivot's inbox row decides; if that is us, a message sets off over all undos
    before the pivot. Lock no domain row before this: the steps lock them after.
    """
    plan = msgspec.convert(request.plan, Plan)
    pivot = _pivot_of(plan).name
    service = service_of_step(pivot)
    if not inbox.bar(
        service,
        pivot,
        [request.message()],
        reason=request.event.detail,
        keep_open=is_external(pivot),
    ):
        return _decided_before(service, pivot, request.saga)
    _write_and_flush(service, plan, _calling_off(request, plan, target=plan.after_cancel()))
    return CancelResult.OURS


def request_cancel(request: CancelRequest) -> None:
    """Ask, inside the caller's transaction at the saga's home, that a pivot which lies elsewhere be
    barred.

    Whether that comes in time, its service decides: the saga is undone from there, or goes on
    forward. The caller sees to it that it is asked once.
    """
    plan = msgspec.convert(request.plan, Plan)
    if plan.bar is None:
        raise ValueError(
            f"The pivot of {plan.saga!r} has no bar: give its Step one, or bar it in its own database."
        )
    _write_and_flush(get_service(plan.home), plan, _calling_off(request, plan, target=plan.bar))


def cancels_at_home(plan: Mapping[str, Any]) -> bool:
    """Tell whether the home of a saga can bar its pivot in a transaction of its own."""
    routed = msgspec.convert(plan, Plan)
    return service_name(_pivot_of(routed).name) == routed.home


def _pivot_of(plan: Plan) -> Step:
    if plan.pivot is None:
        raise ValueError(
            f"The saga {plan.saga!r} has no pivot: nothing decides whether it can still be called off."
        )
    return plan.pivot


def _decided_before(service: Service, pivot: str, saga: UUID) -> CancelResult:
    if inbox.sagas_done(service, pivot, [saga]):
        return CancelResult.DONE
    return (
        CancelResult.UNDECIDED if inbox.sagas_open(service, pivot, [saga]) else CancelResult.REFUSED
    )


def _calling_off(request: CancelRequest, plan: Plan, *, target: str) -> OutboxRow:
    return OutboxRow(
        saga=request.saga,
        started_at=request.started_at,
        seq=request.seq,
        type=request.event.type,
        step="",
        step_attempt=1,
        data=request.event.facts(),
        context={
            **request.context,
            "failure": {"code": request.event.code, "detail": request.event.detail},
        },
        plan=plan,
        target=target,
        headers=instrumentation.new_headers(request.saga),
    )


def _write_and_flush(service: Service, plan: Plan, envelope: OutboxRow) -> None:
    outbox.write(service, plan, [envelope], leased=False)
    _flush_on_commit(service, envelope)


def _flush_on_commit(service: Service, envelope: OutboxRow) -> None:
    reach(Point.UNCOMMITTED, envelope.type, [envelope])
    transaction.on_commit(
        partial(_request_flush, service.name, envelope), using=service.alias, robust=True
    )


def _request_flush(service: str, envelope: OutboxRow) -> None:
    reach(Point.NOT_NUDGED, envelope.type, [envelope])
    request_flush(service)
