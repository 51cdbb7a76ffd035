"""Holding and releasing: an order in all its services, and a step of all orders; and the page that
shows what is held.

Each service decides by its own row (`sagas.operations.holds`), so each is written to. A database
that does not answer fails the action, which is then tried again and reported; what was done before
stays, and does no harm when done again. What a saga's home knows of a hold keeps the rescue from
it, so the home is told last of a hold and first of a release: in between, the worst is a re-drive
that was not needed.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from console.bulk_actions.results import Effect, services_of
from console.models import Run, RunItem
from console.partial_reader import Asking
from orders.models import Order
from sagas.definition.plan import Saga
from sagas.delivery.signatures import task_signature
from sagas.delivery.wakeup import request_flush
from sagas.operations import holds
from sagas.operations.table_stats import MOST
from sagas.storage import sql
from sagas.storage.registry import Service, get_service, service_names, service_of_step

__all__ = [
    "BEHIND",
    "HeldSaga",
    "HeldStep",
    "Holds",
    "hold",
    "hold_of",
    "hold_step",
    "holds_now",
    "release",
    "release_step",
    "steps",
]

logger = logging.getLogger(__name__)

DONE, NOTHING = RunItem.State.DONE, RunItem.State.NOTHING

# Orders on hold that the page names.
SHOWN = 200

AT_WORK = "SELECT step FROM {inbox} WHERE saga = %(saga)s AND state = 'started' ORDER BY id"
HELD_STILL = "SELECT step FROM {inbox} WHERE saga = %(saga)s AND state = 'held' ORDER BY id"
STEPS = "SELECT step, since, by, why FROM {hold} WHERE split_part(step, '.', 1) = %(service)s ORDER BY since"
SAGAS = (
    "SELECT saga, since, by, why FROM {hold} WHERE saga IS NOT NULL ORDER BY since LIMIT %(shown)s"
)
OF_SAGA = "SELECT saga, since, by, why FROM {hold} WHERE saga = %(saga)s"
BEHIND = """
SELECT count(*) FROM (SELECT 1 FROM {inbox} WHERE state = 'held' AND step = %(step)s LIMIT %(most)s) behind
"""


def steps() -> list[str]:
    """Return every step of the sagas that are declared, in the order of their plans."""
    return list(
        dict.fromkeys(name for saga in Saga.declared.values() for name in saga.plan.names())
    )


def hold(order: Order, run: Run) -> Effect:
    """Put an order on hold in all its services. One that has ended meanwhile has nothing left to
    hold.
    """
    services = services_of(order)
    new = [holds.hold(service, saga=order.id, by=_who(run), why=run.reason) for service in services]
    if Order.objects.filter(id=order.id, ended_at__isnull=False).exists():
        for service in services:
            holds.release(service, saga=order.id)
        return Effect(NOTHING, "It has ended: nothing is left to hold.")
    if not any(new):
        return Effect(NOTHING, "It was on hold already.")
    at_work = _steps_of(services, AT_WORK, order.id)
    first = f" {', '.join(at_work)} is at work and ends first." if at_work else ""
    return Effect(DONE, f"On hold before its next step.{first}")


def release(order: Order, run: Run) -> Effect:
    """Release an order in all its services, and send on what waited, unless its step is on hold
    for all.
    """
    services = services_of(order)
    lifted = [holds.release(service, saga=order.id) for service in reversed(services)]
    for service in services:
        if holds.send_on_saga(service, order.id):
            request_flush(service.name)
    still = _steps_of(services, HELD_STILL, order.id)
    waits = f" It waits at {', '.join(still)}, which is on hold for all." if still else ""
    if not any(lifted):
        return Effect(NOTHING, f"It was not on hold.{waits}")
    return Effect(DONE, f"Released.{waits}")


def hold_step(run: Run) -> Effect:
    """Put a step on hold for all orders. What runs at this moment ends."""
    new = [
        holds.hold(service, step=run.step, by=_who(run), why=run.reason)
        for service in _told(run.step)
    ]
    if not any(new):
        return Effect(NOTHING, f"{run.step} was on hold already.")
    return Effect(DONE, f"{run.step} is on hold for all; what runs at this moment ends.")


def release_step(run: Run) -> Effect:
    """Release a step; what waits is sent on by its service, as fast as its workers take it."""
    service = service_of_step(run.step)
    lifted = [holds.release(one, step=run.step) for one in reversed(_told(run.step))]
    _send_on_soon(service)
    if not any(lifted):
        return Effect(NOTHING, f"{run.step} was not on hold.")
    return Effect(
        DONE, f"{run.step} is released; what waits there is sent on: {_behind(service, run.step)}."
    )


@dataclass(frozen=True, kw_only=True)
class HeldStep:
    """A step on hold for all: since when, by whom and why, and how many orders wait there, up to
    `MOST`.
    """

    step: str
    since: datetime
    by: str
    why: str
    behind: int


@dataclass(frozen=True, kw_only=True)
class HeldSaga:
    """An order on hold: since when, by whom and why."""

    saga: UUID
    since: datetime
    by: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Holds:
    """What is on hold now, as the services say; those that did not answer are `unreachable`."""

    steps: list[HeldStep]
    sagas: list[HeldSaga]
    unreachable: list[str]
    shown: int = SHOWN


def holds_now() -> Holds:
    """Ask every service what is on hold there."""
    asking, held_steps, sagas = Asking(), list[HeldStep](), dict[UUID, HeldSaga]()
    for service in map(get_service, service_names()):
        held_steps += asking.ask(service.name, partial(_held_steps, service))
        for held in asking.ask(service.name, partial(_held_sagas, service, SAGAS)):
            sagas.setdefault(held.saga, held)
    first = sorted(sagas.values(), key=lambda one: one.since)[:SHOWN]
    return Holds(steps=held_steps, sagas=first, unreachable=asking.unreachable)


def hold_of(order: Order, services: Iterable[str] | None = None) -> HeldSaga | None:
    """Return how an open order is on hold, by the first of these services, or all of its own,
    that says so.
    """
    if order.ended_at:
        return None
    asking, asked = Asking(), services_of(order) if services is None else map(get_service, services)
    for service in asked:
        for held in asking.ask(service.name, partial(_held_sagas, service, OF_SAGA, order.id)):
            return held
    return None


def _send_on_soon(service: Service) -> None:
    try:
        task_signature("release_held", service.name, queue=service.name).apply_async()
    except Exception as error:  # whatever the broker's client raises: it is released
        logger.warning(
            "What %s held is not sent on at once, beat does so within seconds: %r",
            service.name,
            error,
        )


def _held_steps(service: Service) -> list[HeldStep]:
    rows = sql.fetch(service.alias, STEPS.format(hold=service.hold), {"service": service.name})
    return [
        HeldStep(step=step, since=since, by=by, why=why, behind=_behind(service, step))
        for step, since, by, why in rows
    ]


def _held_sagas(service: Service, statement: str, saga: UUID | None = None) -> list[HeldSaga]:
    rows = sql.fetch(
        service.alias, statement.format(hold=service.hold), {"saga": saga, "shown": SHOWN}
    )
    return [HeldSaga(saga=saga, since=since, by=by, why=why) for saga, since, by, why in rows]


def _behind(service: Service, step: str) -> int:
    [(waiting,)] = sql.fetch(
        service.alias, BEHIND.format(inbox=service.inbox), {"step": step, "most": MOST}
    )
    return int(waiting)


def _told(step: str) -> list[Service]:
    """Return the service of a step, which decides, and then the homes of its sagas, which must
    know.
    """
    homes = {saga.plan.home for saga in Saga.declared.values() if step in saga.plan.names()}
    owner = service_of_step(step)
    return [owner, *(get_service(home) for home in sorted(homes - {owner.name}))]


def _steps_of(services: Iterable[Service], statement: str, saga: UUID) -> list[str]:
    return [
        step
        for service in services
        for (step,) in sql.fetch(
            service.alias, statement.format(inbox=service.inbox), {"saga": saga}
        )
    ]


def _who(run: Run) -> str:
    return run.requested_by.get_username()
