"""The current holds: of steps and their destinations for all sagas, and of single sagas.

Each service decides by its own hold row (`sagas.operations.holds`), so each service is asked.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from uuid import UUID

from console.order_services import services_of
from console.partial_reader import PartialReader
from console.saga_pages import find_kinds
from sagas import sql
from sagas.definition.hold_scope import HoldScope
from sagas.definition.plan import Saga
from sagas.kinds import SagaKind
from sagas.models import TrackedSaga
from sagas.operations.table_stats import COUNT_LIMIT, count_in_words
from sagas.storage.automatic_holds import WAITS_AT_DESTINATION, WAITS_AT_STEP
from sagas.storage.faults import EPISODE_SECONDS
from sagas.storage.registry import Service, get_service, service_names, service_of_step

__all__ = [
    "MANUAL_STEP_HOLDS",
    "STEP_HOLDS",
    "WAITING_AT_STEP",
    "CurrentHolds",
    "FailingStep",
    "HeldOrder",
    "HeldStep",
    "TroubledSteps",
    "current_holds",
    "declared_steps",
    "hold_of",
    "homes_of",
    "step_holds",
    "troubled_steps",
    "waiting_at",
]

# Sagas on hold that the page lists.
SHOWN = 200

STEP_HOLDS = """
SELECT count(*) FROM {hold}
 WHERE COALESCE(step, calling_step) = %(step)s AND destination = %(destination)s
"""

MANUAL_STEP_HOLDS = """
SELECT count(*) FROM {hold}
 WHERE COALESCE(step, calling_step) = %(step)s AND destination = %(destination)s AND NOT automatic
"""

WAITING_AT_STEP = """
SELECT count(*)
  FROM (SELECT 1 FROM {inbox}
         WHERE state = 'held' AND step = %(step)s AND %(destination)s IN ('', destination)
         LIMIT %(most)s) waiting
"""

TROUBLED_STEPS = """
SELECT 'held', COALESCE(h.step, h.calling_step), h.destination, h.since, h.by, h.why, h.automatic,
       (SELECT count(*) FROM (SELECT 1 FROM {inbox} i
                               WHERE {at_step}
                               UNION ALL
                              SELECT 1 FROM {inbox} i
                               WHERE {at_destination}
                               LIMIT %(most)s) waiting)
  FROM {hold} h WHERE split_part(COALESCE(h.step, h.calling_step), '.', 1) = %(service)s
 UNION ALL
SELECT 'failing', f.step, f.destination, min(f.first_at), '',
       (array_agg(f.error ORDER BY f.last_at DESC))[1], false, count(*)
  FROM {fault} f
 WHERE f.shared AND f.last_at > clock_timestamp() - make_interval(secs => %(episode)s)
   AND NOT EXISTS (SELECT 1 FROM {hold} h
                    WHERE f.step IN (h.step, h.calling_step)
                      AND h.destination IN ('', f.destination))
 GROUP BY f.step, f.destination, f.pattern
 ORDER BY 4
"""

HELD_ORDERS = """
SELECT saga, since, by, why FROM {hold} WHERE saga IS NOT NULL ORDER BY since LIMIT %(shown)s
"""

HOLD_OF_ORDER = "SELECT saga, since, by, why FROM {hold} WHERE saga = %(saga)s"


@dataclass(frozen=True, kw_only=True)
class HeldStep:
    """A step on hold for all sagas, or its calls to one destination.

    `waiting`: the sagas that wait there, up to `COUNT_LIMIT`.
    """

    step: str
    destination: str = ""
    since: datetime
    by: str
    why: str
    waiting: int
    automatic: bool = False

    @property
    def waiting_text(self) -> str:
        """The sagas that wait there, in words."""
        return count_in_words(self.waiting)

    @property
    def scope(self) -> HoldScope:
        """The step, or its calls to the destination, which is on hold."""
        return HoldScope(self.step, self.destination)


@dataclass(frozen=True, kw_only=True)
class FailingStep:
    """A step that fails for several sagas by no fault of theirs. `error` is the last of one kind.

    `orders`: at most `sagas.storage.faults.KEPT_OF_ERROR` are known. `destination`: the outside
    system at fault, if it is one.
    """

    step: str
    destination: str = ""
    orders: int
    since: datetime
    error: str

    @property
    def scope(self) -> HoldScope:
        """The step, or its calls to the destination, which fails."""
        return HoldScope(self.step, self.destination)


@dataclass(frozen=True, kw_only=True)
class TroubledSteps:
    """The steps of one service that are on hold, and its steps that fail for many sagas without a
    hold, each the oldest first.
    """

    held: list[HeldStep]
    failing: list[FailingStep]


@dataclass(frozen=True, kw_only=True)
class HeldOrder:
    """A saga on hold. `kind` is None where it was not looked up, or is gone."""

    order: UUID
    since: datetime
    by: str
    why: str
    kind: SagaKind | None = None

    @property
    def page(self) -> str:
        """Return the address of its page; empty for a saga that no home has."""
        return self.kind.page(self.order) if self.kind else ""


@dataclass(frozen=True, kw_only=True)
class CurrentHolds:
    """All current holds, and the steps that fail for many sagas without a hold.

    `unreachable` names the services that did not answer. `complete` is False if more sagas may be
    on hold than were read.
    """

    steps: list[HeldStep]
    failing: list[FailingStep]
    orders: list[HeldOrder]
    unreachable: list[str]
    shown: int = SHOWN
    complete: bool = True

    @property
    def kinds(self) -> list[SagaKind]:
        """Return the kinds of the sagas on hold."""
        return list(dict.fromkeys(held.kind for held in self.orders if held.kind))


def current_holds(shows: Callable[[SagaKind | None, str], bool] | None = None) -> CurrentHolds:
    """Read the holds of every service.

    `shows` tells of the kind of a saga whether its hold is shown; all are by default.
    """
    reader = PartialReader()
    steps: list[HeldStep] = []
    failing: list[FailingStep] = []
    orders: dict[UUID, HeldOrder] = {}

    for service in map(get_service, service_names()):
        for troubled in reader.read(service.name, partial(_troubled, service)):
            steps += troubled.held
            failing += troubled.failing
        for held in reader.read(service.name, partial(_held_orders, service, HELD_ORDERS)):
            orders.setdefault(held.order, held)

    kinds = find_kinds(orders, reader)
    known = [replace(held, kind=kinds.get(held.order)) for held in orders.values()]
    shown = [held for held in known if not shows or shows(held.kind, "")]
    return CurrentHolds(
        steps=steps,
        failing=failing,
        orders=sorted(shown, key=lambda held: held.since)[:SHOWN],
        unreachable=reader.unreachable,
        complete=len(orders) < SHOWN,
    )


def hold_of(
    order: TrackedSaga, services: Iterable[str] | None = None, *, reader: PartialReader
) -> HeldOrder | None:
    """Return the hold of an open saga, as the first of these services has it.

    Without `services`, all services of the saga are asked. None means no hold only if the reader
    has reached them all.
    """
    if order.ended_at:
        return None

    asked = services_of(order) if services is None else map(get_service, services)
    for service in asked:
        read = partial(_held_orders, service, HOLD_OF_ORDER, order.pk)
        for held in reader.read(service.name, read):
            return held
    return None


def declared_steps() -> list[str]:
    """Return the steps of all declared sagas, in the order of their plans."""
    steps = (step for saga in Saga.declared.values() for step in saga.plan.names())
    return list(dict.fromkeys(steps))


def homes_of(step: str) -> set[str]:
    """Return the homes of the declared sagas that have a step."""
    return {saga.plan.home for saga in Saga.declared.values() if step in saga.plan.names()}


def step_holds(steps: Mapping[str, str], *, reader: PartialReader) -> list[HeldStep]:
    """Return the holds at which a saga waits that is held at these steps, each with the destination
    of its calls. The service of several steps is asked once.
    """
    services = {service_of_step(step).name for step in steps}
    return [
        held
        for service in map(get_service, sorted(services))
        for troubled in reader.read(service.name, partial(_troubled, service))
        for held in troubled.held
        if held.step in steps and held.destination in ("", steps[held.step])
    ]


def waiting_at(service: Service, scope: HoldScope) -> int:
    """Return how many sagas wait at a step or a destination on hold, up to `COUNT_LIMIT`."""
    statement = WAITING_AT_STEP.format(inbox=service.inbox)
    params = {**scope._asdict(), "most": COUNT_LIMIT}
    [(waiting,)] = sql.fetch(service.alias, statement, params)
    return int(waiting)


def troubled_steps(service: Service) -> TroubledSteps:
    """Read the troubled steps of one service, in one statement."""
    statement = TROUBLED_STEPS.format(
        hold=service.hold,
        inbox=service.inbox,
        fault=service.fault,
        at_step=WAITS_AT_STEP,
        at_destination=WAITS_AT_DESTINATION,
    )
    params = {"service": service.name, "most": COUNT_LIMIT, "episode": EPISODE_SECONDS}
    found = TroubledSteps(held=[], failing=[])

    for kind, step, destination, since, by, text, automatic, orders in sql.fetch(
        service.alias, statement, params
    ):
        if kind == "held":
            held = HeldStep(
                step=step,
                destination=destination,
                since=since,
                by=by,
                why=text,
                waiting=orders,
                automatic=automatic,
            )
            found.held.append(held)
        else:
            failing = FailingStep(
                step=step, destination=destination, orders=orders, since=since, error=text
            )
            found.failing.append(failing)
    return found


def _troubled(service: Service) -> list[TroubledSteps]:
    return [troubled_steps(service)]


def _held_orders(service: Service, statement: str, order: UUID | None = None) -> list[HeldOrder]:
    params = {"saga": order, "shown": SHOWN}
    rows = sql.fetch(service.alias, statement.format(hold=service.hold), params)
    return [HeldOrder(order=order, since=since, by=by, why=why) for order, since, by, why in rows]
