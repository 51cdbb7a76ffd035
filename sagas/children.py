"""Child sagas: a step starts another saga, and is over when that saga has ended.

The step belongs to the home of its child, so one transaction claims the step and starts the child.
The id of the child follows from the parent and the step. So there is one child, although
messages are repeated. The transaction that records the end of the child has the step sent again
(`sagas.storage.children`).
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction
from msgspec.structs import replace

from sagas.definition.child_rules import ChildEnd, ChildRule, child_id, undoing_step
from sagas.definition.children import Child
from sagas.definition.events import ChildClosed, Event, ParentUndone, Refusal, WaitsForChild
from sagas.definition.handlers import (
    AgreedWait,
    Delivery,
    Outcome,
    Waiting,
    context_of,
    one_by_one,
    register,
)
from sagas.definition.plan import Plan, Saga
from sagas.definition.signatures import Signature
from sagas.models import TrackedSaga
from sagas.storage import children
from sagas.storage.registry import Home, get_home, get_service
from sagas.tracked import cancel, decides_here, start

__all__ = ["Child", "ChildStep", "child", "close", "go_on"]

# Seconds after which a step looks at its child by itself. The end of the child has it sent before.
LOOK_SECONDS = 3_600.0

# Seconds after which a cancel is tried again whose child another transaction keeps locked.
LOCKED_SECONDS = 1.0


class ChildStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step that starts a child: its name, the child's declaration, and functions of the domain.

    `begin` returns the unsaved tracked row and the starting event of the child.
    """

    name: str
    saga: Saga
    begin: Callable[[Delivery[Any]], tuple[TrackedSaga, Event]]
    done: Event | Callable[[Any], Event]
    failed: type[Event]
    undo: Callable[[Delivery[Any]], Outcome] | None

    @property
    def home(self) -> Home:
        """The home of the child, to which the step belongs, too."""
        return get_home(self.saga.plan.home)


def child(  # noqa: PLR0913  all by keyword
    name: str,
    *,
    saga: Saga,
    begin: Callable[[Delivery[Any]], tuple[TrackedSaga, Event]],
    done: Event | Callable[[Any], Event],
    failed: type[Event],
    undo: Callable[[Delivery[Any]], Outcome] | None = None,
    returns: type[Event] | None = None,
    accepts: type[msgspec.Struct] | None = None,
) -> None:
    """Register a step that starts another saga, and the step that undoes it on the way back.

        child("shop.pack", saga=PACK, begin=begin, done=Packed(), failed=NotPacked, undo=unpack)

    `begin` is a function of the `Delivery`. It returns the unsaved tracked row of the child, and
    the event that starts it; the engine sets the primary key. The step waits until the child has
    ended. If the child is done, `done` is the event of the step, or a function of the child's row
    that returns it. If the child was undone, the step makes an event of the type `failed`. It has
    the `code` and the `detail` of the child's failure. Up to the pivot it is a `Refusal`, and any
    other event after it.

    If the parent is compensated, the undo cancels the child and waits for its end. It then calls
    `undo`, a function of the `Delivery`, if the child was done after all. `returns` is as for
    `action`. `accepts` is the struct of the context, if the functions have no annotation. Raises
    TypeError as `action` does.
    """
    step = ChildStep(name=name, saga=saga, begin=begin, done=done, failed=failed, undo=undo)
    rule = ChildRule(saga=saga, failed=failed, done=done, has_undo=undo is not None)

    def run(delivery: Delivery[Any]) -> Outcome:
        return go_on(step, delivery)

    def run_undo(delivery: Delivery[Any]) -> Outcome:
        return close(step, delivery)

    given: Any = failed  # a wrong one is found by `manage.py check`
    is_refusal = isinstance(given, type) and issubclass(given, Refusal)
    given_up = given if is_refusal else None
    forward = Signature(context_of(name, begin, accepts), batch=True)
    back = Signature(context_of(undoing_step(name), undo, accepts), batch=True)
    register(name, forward, given_up, None, returns=returns, child=rule)(one_by_one(run))
    register(undoing_step(name), back, None, None)(one_by_one(run_undo))


def go_on(step: ChildStep, delivery: Delivery[Any]) -> Outcome:
    """Start the child of a step, or go on with its end. The row of the step is claimed."""
    end, row = _find(step, delivery.saga)
    if end is None and row is None:
        row = _start(step, delivery)
    if end is None:
        return _wait(step, row, "Waits for the end of its child")
    if end.failure is not None:
        failed: Callable[..., Event] = step.failed
        return failed(code=end.failure["code"], detail=end.failure["detail"])
    if isinstance(step.done, Event):
        return step.done
    if row is None:
        raise LookupError(f"The row of saga {end.child} is gone, so {step.name} cannot read it.")
    return step.done(row)


def close(step: ChildStep, delivery: Delivery[Any]) -> Outcome:
    """Cancel the child of a step, or undo it once it has ended. The step is barred."""
    end, row = _find(step, delivery.saga)
    if end is None and row is None:
        return ChildClosed(step=step.name)
    if end is None:
        asked = _cancel(step.home, row)
        pause = LOOK_SECONDS if asked else LOCKED_SECONDS
        return _wait(step, row, "Waits for the end of the cancelled child", pause)
    if end.failure is not None or step.undo is None:
        return ChildClosed(step=step.name)
    return step.undo(replace(delivery, action_done=True))


def _find(step: ChildStep, parent: UUID) -> tuple[ChildEnd | None, Any]:
    """Return the end of the child, if it has ended, and its tracked row, if it has started."""
    home = step.home
    end = children.find_end(get_service(home.name), step.name, parent)
    row = children.find_child(home, parent, step.name)
    if end is None and row is not None:
        end = children.read_end(home, row)
    return end, row


def _start(step: ChildStep, delivery: Delivery[Any]) -> TrackedSaga:
    row, event = step.begin(delivery)
    row.pk = child_id(delivery.saga, step.name)
    row.parent_saga, row.parent_step = delivery.saga, step.name
    return start(step.saga, row, event)


def _wait(step: ChildStep, row: TrackedSaga, reason: str, pause: float = LOOK_SECONDS) -> Waiting:
    until = datetime.now(UTC) + timedelta(seconds=pause)
    notice = WaitsForChild(step=step.name, child=str(row.pk), waits_until=until)
    return AgreedWait(reason=f"{reason}, saga {row.pk}.", pause=pause, notice=notice)


def _cancel(home: Home, row: TrackedSaga) -> bool:
    """Ask the child to be cancelled, unless it has no pivot; return False if its row is locked.

    The end of a child locks its tracked row before the row of the step. So this transaction, which
    has locked the row of the step, does not wait for the tracked row.
    """
    if msgspec.convert(row.plan, Plan).pivot is None:
        return True
    with transaction.atomic(using=home.alias):
        if not decides_here(row):
            rows = type(row)._base_manager.using(home.alias)
            if not rows.select_for_update(skip_locked=True).filter(pk=row.pk).exists():
                return False
        cancel(row, ParentUndone())
    return True
