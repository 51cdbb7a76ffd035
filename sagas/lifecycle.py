"""How a domain begins a saga, and how it calls one off."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction

from sagas import inbox, observe, outbox, timeline
from sagas.events import Event, Refusal
from sagas.failpoints import Point, reach
from sagas.messages import Envelope, Message
from sagas.nudge import nudge
from sagas.plan import Plan, Saga, Step, service_of
from sagas.services import Service, home_called, owner_of, service_called
from sagas.sql import Expressions
from sagas.steps import is_external

__all__ = ["Barred", "CallOff", "ask_to_bar_pivot", "bar_pivot", "decides_itself", "start"]


class Barred(Enum):
    """Who decided whether the pivot happens: we did just now, it is done, or it had been refused before.

    Undecided: an outside system is being asked to do it, and only its answer tells.
    """

    OURS = "ours"
    DONE = "done"
    REFUSED = "refused"
    UNDECIDED = "undecided"


class CallOff(msgspec.Struct, frozen=True, kw_only=True):
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
        return Message(id=self.saga, saga=self.saga, started_at=self.started_at, seq=self.seq, context=context)


def start(
    declaration: Saga,
    *,
    saga: UUID,
    started_at: datetime,
    event: Event,
    headers: Mapping[str, str] | None = None,
    along: Expressions | None = None,
) -> None:
    """Begin a saga inside the caller's transaction: its first event goes to outbox and timeline of the saga's home.

    The fields of `event` become the context that travels with the saga. `started_at` is by the database's clock. The
    tracked row is there already; or, where round trips matter, `along` inserts it in the statement that writes the
    event, with `rescue_at` SAGA_STALL_SECONDS ahead. None of its parameters may have the name of one in `sagas.outbox`.
    """
    plan = declaration.plan
    facts = event.facts()
    envelope = Envelope(
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
        headers=observe.carried(saga, headers),
    )
    home, service = home_called(plan.home), service_called(plan.home)
    if along:
        timeline.begin(home, along, outbox.written(service, plan, envelope))
    else:
        outbox.write(service, plan, [envelope], leased=False)
        timeline.record(home, [envelope.entry(home.name)])
    _nudge_on_commit(service, envelope)


def bar_pivot(wish: CallOff) -> Barred:
    """Call a saga off inside the caller's transaction in the pivot's database, if its pivot has not happened.

    Whoever inserts the pivot's inbox row decides; if that is us, a message sets off over all undos before the pivot.
    Lock no domain row before this: the steps lock them after.
    """
    plan = msgspec.convert(wish.plan, Plan)
    pivot = _pivot_of(plan).name
    service = owner_of(pivot)
    if not inbox.bar(service, pivot, [wish.message()], reason=wish.event.detail, begun=not is_external(pivot)):
        return _decided_before(service, pivot, wish.saga)
    _write_and_nudge(service, plan, _calling_off(wish, plan, target=plan.after_cancel()))
    return Barred.OURS


def ask_to_bar_pivot(wish: CallOff) -> None:
    """Ask, inside the caller's transaction at the saga's home, that a pivot which lies elsewhere be barred.

    Whether that comes in time, its service decides: the saga is undone from there, or goes on forward. The caller sees
    to it that it is asked once.
    """
    plan = msgspec.convert(wish.plan, Plan)
    if plan.bar is None:
        raise ValueError(f"The pivot of {plan.saga!r} has no bar: give its Step one, or bar it in its own database.")
    _write_and_nudge(service_called(plan.home), plan, _calling_off(wish, plan, target=plan.bar))


def decides_itself(plan: Mapping[str, Any]) -> bool:
    """Tell whether the home of a saga can bar its pivot in a transaction of its own."""
    routed = msgspec.convert(plan, Plan)
    return service_of(_pivot_of(routed).name) == routed.home


def _pivot_of(plan: Plan) -> Step:
    if plan.pivot is None:
        raise ValueError(f"The saga {plan.saga!r} has no pivot: nothing decides whether it can still be called off.")
    return plan.pivot


def _decided_before(service: Service, pivot: str, saga: UUID) -> Barred:
    if inbox.done(service, pivot, [saga]):
        return Barred.DONE
    return Barred.UNDECIDED if inbox.undecided(service, pivot, [saga]) else Barred.REFUSED


def _calling_off(wish: CallOff, plan: Plan, *, target: str) -> Envelope:
    return Envelope(
        saga=wish.saga,
        started_at=wish.started_at,
        seq=wish.seq,
        type=wish.event.type,
        step="",
        step_attempt=1,
        data=wish.event.facts(),
        context={**wish.context, "failure": {"code": wish.event.code, "detail": wish.event.detail}},
        plan=plan,
        target=target,
        headers=observe.carried(wish.saga),
    )


def _write_and_nudge(service: Service, plan: Plan, envelope: Envelope) -> None:
    outbox.write(service, plan, [envelope], leased=False)
    _nudge_on_commit(service, envelope)


def _nudge_on_commit(service: Service, envelope: Envelope) -> None:
    reach(Point.UNCOMMITTED, envelope.type, [envelope])
    transaction.on_commit(partial(_nudge, service.name, envelope), using=service.alias, robust=True)


def _nudge(service: str, envelope: Envelope) -> None:
    reach(Point.NOT_NUDGED, envelope.type, [envelope])
    nudge(service)
