"""How a domain begins a saga, and how it calls one off."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction

from sagas import inbox, observe, outbox
from sagas.events import Event, Refusal
from sagas.failpoints import Point, reach
from sagas.messages import Envelope, Message
from sagas.nudge import nudge
from sagas.plan import Plan, Saga
from sagas.services import Service, owner_of, service_called

__all__ = ["Barred", "bar_pivot", "start"]


class Barred(Enum):
    """Who decided whether the pivot happens: we did just now, it is done, or it had been refused before."""

    OURS = "ours"
    DONE = "done"
    REFUSED = "refused"


def start(
    declaration: Saga, *, saga: UUID, started_at: datetime, event: Event, headers: Mapping[str, str] | None = None
) -> None:
    """Begin a saga inside the caller's transaction: its first event goes to the outbox of the saga's home.

    The fields of `event` become the context that travels with the saga. `started_at` is by the database's clock.
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
    _write_and_nudge(service_called(plan.home), plan, envelope)


def bar_pivot(
    *,
    saga: UUID,
    plan: Mapping[str, Any],
    started_at: datetime,
    context: Mapping[str, Any],
    event: Refusal,
    seq: int = 1,
) -> Barred:
    """Call a saga off inside the caller's transaction, if its pivot has not happened.

    `plan` is the one stored with the saga, not today's. Whoever inserts the pivot's inbox row decides; if that is us,
    a message sets off over all undos before the pivot. Lock no domain row before this: the steps lock them after.
    """
    routed = msgspec.convert(plan, Plan)
    if routed.pivot is None:
        raise ValueError(f"The saga {routed.saga!r} has no pivot: nothing decides whether it can still be called off.")
    service = owner_of(routed.pivot.name)
    if service.name != routed.home:
        raise ValueError(f"The pivot of {routed.saga!r} lies in {service.name}: only a transaction there can bar it.")
    message = Message(id=saga, saga=saga, started_at=started_at, seq=seq, context=dict(context))
    if not inbox.bar(service, routed.pivot.name, [message], reason=event.detail):
        return Barred.DONE if inbox.done(service, routed.pivot.name, [saga]) else Barred.REFUSED
    failure = {"code": event.code, "detail": event.detail}
    envelope = Envelope(
        saga=saga,
        started_at=started_at,
        seq=seq,
        type=event.type,
        step="",
        step_attempt=1,
        data=event.facts(),
        context={**context, "failure": failure},
        plan=routed,
        target=routed.after_cancel(),
        headers=observe.carried(saga),
    )
    _write_and_nudge(service, routed, envelope)
    return Barred.OURS


def _write_and_nudge(service: Service, plan: Plan, envelope: Envelope) -> None:
    outbox.write(service, plan, [envelope], leased=False)
    reach(Point.UNCOMMITTED, envelope.type, [envelope])
    transaction.on_commit(partial(_nudge, service.name, envelope), using=service.alias, robust=True)


def _nudge(service: str, envelope: Envelope) -> None:
    reach(Point.NOT_NUDGED, envelope.type, [envelope])
    nudge(service)
