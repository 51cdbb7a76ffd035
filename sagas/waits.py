"""Answer the waits of sagas: from REST, from a webhook, or from an operator.

A timer is a wait that takes no signal, so none of these functions finds one.
"""

from collections.abc import Iterable
from enum import Enum
from functools import partial
from uuid import UUID

import msgspec
from django.db import router, transaction

from sagas.definition import handlers
from sagas.definition.events import Event
from sagas.definition.messages import to_json
from sagas.definition.plan import Plan
from sagas.definition.sizes import MOST_BYTES_OF_SIGNAL
from sagas.definition.waits import Signal, WaitRule, WrongSignal
from sagas.delivery.wakeup import request_flush
from sagas.models import TrackedSaga
from sagas.storage import signals, timeline
from sagas.storage.registry import (
    Service,
    get_home,
    get_service,
    service_names,
    service_of_step,
)
from sagas.storage.signals import OpenWait

__all__ = [
    "OpenWait",
    "Signal",
    "SignalResult",
    "WaitRule",
    "WrongSignal",
    "find_signal",
    "open_waits",
    "rule_of",
    "signal",
]


class SignalResult(Enum):
    """The effect of a signal.

    `ACCEPTED`: it is the answer that counts, now or as soon as the saga waits for it. `REPEATED`:
    an answer came before, and that one counts. `TOO_LATE`: the wait has expired, is closed, or is
    over without a signal.
    """

    ACCEPTED = "accepted"
    REPEATED = "repeated"
    TOO_LATE = "too_late"


def signal(row: TrackedSaga, step: str, event: Event, *, by: str, why: str = "") -> SignalResult:
    """Answer the wait `step` of a saga, once and for all.

    `row` is the saga's tracked row. `event` is an answer or a refusal that the wait declares. `by`
    names the person or the system that answers, and `why` is the reason of a person. Repeat the
    call after an error: the first signal counts. Inside a transaction of the wait's database, the
    signal counts when it commits; lock no row before that a step locks.

    Raises `LookupError` if the saga's plan has no such wait or this process knows none of that
    name. Raises `WrongSignal` if the event does not fit, or has more than 64 KiB of JSON.
    """
    plan = msgspec.convert(row.plan, Plan)
    rule_of(plan, step).require(event)
    _require_size(event)
    service = service_of_step(step)

    if _is_open(row):
        answer = Signal(type=event.type, data=event.facts(), by=by, why=why)
        with transaction.atomic(using=service.alias):
            is_first = signals.add(
                service, step, row.pk, answer, started_at=row.created_at, home=plan.home
            )
            for after in (
                partial(request_flush, service.name),
                partial(_end_agreed_wait, service, step, row.pk, plan.home),
            ):
                transaction.on_commit(after, using=service.alias, robust=True)
        if is_first:
            return SignalResult.ACCEPTED

    found = signals.find(service, step, row.pk)
    return SignalResult.TOO_LATE if found is None else SignalResult.REPEATED


def rule_of(plan: Plan, step: str) -> WaitRule:
    """Return the rule of a wait in a plan. Raises `LookupError` if there is no such wait."""
    definition = handlers.definition(step)
    if definition is None or definition.wait is None:
        raise LookupError(f"No wait is registered as {step!r} in this process.")
    if step not in {each.name for each in plan.actions}:
        raise LookupError(f"The plan of saga {plan.saga!r} has no step {step!r}.")
    return definition.wait


def find_signal(step: str, saga: UUID) -> Signal | None:
    """Return the signal that counts for a wait of a saga, or None if it has got none."""
    return signals.find(service_of_step(step), step, saga)


def open_waits(*sagas: UUID, services: Iterable[str] | None = None) -> list[OpenWait]:
    """Return the waits of sagas that have begun and take a signal now.

    Ask only some `services`, or by default all that this process can reach.
    """
    names = service_names() if services is None else services
    found = [each for name in names for each in signals.open_waits(get_service(name), sagas)]
    return [each for each in found if not handlers.is_timer(each.step)]


def _require_size(event: Event) -> None:
    """Raise `WrongSignal` for an event that may not fit into the messages behind the wait.

    The step that finds it too large would fail, and an answer would undo the saga.
    """
    size = len(to_json(event.facts()).encode())
    if size > MOST_BYTES_OF_SIGNAL:
        raise WrongSignal(
            f"The fields of {event.type!r} have {size} bytes of JSON. The most is "
            f"{MOST_BYTES_OF_SIGNAL}: keep large data in a table, and its key in the event."
        )


def _end_agreed_wait(service: Service, step: str, saga: UUID, home: str) -> None:
    """Tell the saga's home that it no longer waits as agreed. A saga that has not begun the wait,
    or waits for something else, is left alone.
    """
    expires_at = signals.expiry(service, step, saga)
    if expires_at is not None:
        timeline.end_wait(get_home(home), saga, waits_until=expires_at)


def _is_open(row: TrackedSaga) -> bool:
    """Tell whether the saga is open, by its row as it is now. An ended saga gets no new row."""
    alias = router.db_for_write(type(row))
    return type(row)._base_manager.using(alias).filter(pk=row.pk, ended_at=None).exists()
