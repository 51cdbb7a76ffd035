"""The current holds: of steps for all orders, and of single orders.

Each service decides by its own hold row (`sagas.operations.holds`), so each service is asked.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from console.order_services import services_of
from console.partial_reader import PartialReader
from orders.models import Order
from sagas.definition.plan import Saga
from sagas.operations.table_stats import COUNT_LIMIT
from sagas.storage import sql
from sagas.storage.registry import Service, get_service, service_names, service_of_step

__all__ = [
    "STEP_HOLDS",
    "WAITING_AT_STEP",
    "CurrentHolds",
    "HeldOrder",
    "HeldStep",
    "current_holds",
    "declared_steps",
    "hold_of",
    "services_holding",
    "steps_of",
    "waiting_at",
]

# Orders on hold that the page lists.
SHOWN = 200

STEP_HOLDS = "SELECT count(*) FROM {hold} WHERE step = %(step)s"

WAITING_AT_STEP = """
SELECT count(*)
  FROM (SELECT 1 FROM {inbox} WHERE state = 'held' AND step = %(step)s LIMIT %(most)s) waiting
"""

HELD_STEPS = """
SELECT step, since, by, why FROM {hold}
 WHERE split_part(step, '.', 1) = %(service)s ORDER BY since
"""

HELD_ORDERS = """
SELECT saga, since, by, why FROM {hold} WHERE saga IS NOT NULL ORDER BY since LIMIT %(shown)s
"""

HOLD_OF_ORDER = "SELECT saga, since, by, why FROM {hold} WHERE saga = %(saga)s"


@dataclass(frozen=True, kw_only=True)
class HeldStep:
    """A step on hold for all orders. `waiting`: the orders that wait there, up to `COUNT_LIMIT`."""

    step: str
    since: datetime
    by: str
    why: str
    waiting: int


@dataclass(frozen=True, kw_only=True)
class HeldOrder:
    """An order on hold."""

    order: UUID
    since: datetime
    by: str
    why: str


@dataclass(frozen=True, kw_only=True)
class CurrentHolds:
    """All current holds. `unreachable` names the services that did not answer."""

    steps: list[HeldStep]
    orders: list[HeldOrder]
    unreachable: list[str]
    shown: int = SHOWN


def current_holds() -> CurrentHolds:
    """Read the holds of every service."""
    reader = PartialReader()
    steps: list[HeldStep] = []
    orders: dict[UUID, HeldOrder] = {}

    for service in map(get_service, service_names()):
        steps += reader.read(service.name, partial(_held_steps, service))
        for held in reader.read(service.name, partial(_held_orders, service, HELD_ORDERS)):
            orders.setdefault(held.order, held)

    oldest_first = sorted(orders.values(), key=lambda held: held.since)
    return CurrentHolds(steps=steps, orders=oldest_first[:SHOWN], unreachable=reader.unreachable)


def hold_of(order: Order, services: Iterable[str] | None = None) -> HeldOrder | None:
    """Return the hold of an open order, as the first of these services has it.

    Without `services`, all services of the order are asked.
    """
    if order.ended_at:
        return None

    reader = PartialReader()
    asked = services_of(order) if services is None else map(get_service, services)
    for service in asked:
        read = partial(_held_orders, service, HOLD_OF_ORDER, order.id)
        for held in reader.read(service.name, read):
            return held
    return None


def declared_steps() -> list[str]:
    """Return the steps of all declared sagas, in the order of their plans."""
    steps = (step for saga in Saga.declared.values() for step in saga.plan.names())
    return list(dict.fromkeys(steps))


def services_holding(step: str) -> list[Service]:
    """Return the services that keep a hold on a step: its own first, then the homes of its sagas.

    The step's own service decides whether the step runs. The homes leave waiting orders alone.
    """
    owner = service_of_step(step)
    homes = {saga.plan.home for saga in Saga.declared.values() if step in saga.plan.names()}
    return [owner, *(get_service(home) for home in sorted(homes - {owner.name}))]


def steps_of(services: Iterable[Service], statement: str, order: UUID) -> list[str]:
    """Return the steps that a statement finds for an order in the inboxes of these services."""
    return [
        step
        for service in services
        for (step,) in sql.fetch(
            service.alias, statement.format(inbox=service.inbox), {"saga": order}
        )
    ]


def waiting_at(service: Service, step: str) -> int:
    """Return how many orders wait at a step on hold, up to `COUNT_LIMIT`."""
    statement = WAITING_AT_STEP.format(inbox=service.inbox)
    [(waiting,)] = sql.fetch(service.alias, statement, {"step": step, "most": COUNT_LIMIT})
    return int(waiting)


def _held_steps(service: Service) -> list[HeldStep]:
    statement = HELD_STEPS.format(hold=service.hold)
    rows = sql.fetch(service.alias, statement, {"service": service.name})
    return [
        HeldStep(step=step, since=since, by=by, why=why, waiting=waiting_at(service, step))
        for step, since, by, why in rows
    ]


def _held_orders(service: Service, statement: str, order: UUID | None = None) -> list[HeldOrder]:
    params = {"saga": order, "shown": SHOWN}
    rows = sql.fetch(service.alias, statement.format(hold=service.hold), params)
    return [HeldOrder(order=order, since=since, by=by, why=why) for order, since, by, why in rows]
