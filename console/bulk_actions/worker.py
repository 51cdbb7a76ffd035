"""Acts on the items of the runs that have started.

An item is leased, acted on outside of any transaction, and settled once. If a worker dies, its
lease expires, and another worker acts on the item again: every action is safe to apply twice.
"""

import logging
from collections.abc import Sequence

from django.db import connections, transaction
from django.db.models.functions import Now

from console.bulk_actions.action import OrderAction, StepAction
from console.bulk_actions.log import log
from console.bulk_actions.registry import get_action
from console.bulk_actions.results import ActionResult
from console.failures.grouping import StepFailure, failing_steps
from console.models import Run, RunItem
from sagas import sql
from sagas.kinds import find_saga
from staff.log import About
from staff.models import LogEntry

__all__ = ["LEASE", "MAX_ATTEMPTS", "act_on", "work_once"]

logger = logging.getLogger(__name__)

# Items that one worker leases at once, and for how many seconds.
BATCH = 20
LEASE = 60

# Attempts after which an item is left with its error.
MAX_ATTEMPTS = 5

# Each log entry names the requester of the run, and its approver if it has one.
PEOPLE = ("run__requested_by", "run__decided_by")

# Characters of an error that the log keeps with each saga.
MOST_ERROR = 300

LEASE_DUE_ITEMS = sql.lease_statement(
    "console_runitem",
    due="due_at",
    condition="state = 'pending'",
    changes=["attempts = attempts + 1"],
    returning="id",
)

END_FINISHED_RUNS = """
UPDATE console_run r SET state = 'ended', ended_at = clock_timestamp()
 WHERE r.state = 'running'
   AND NOT EXISTS (SELECT 1 FROM console_runitem i WHERE i.run_id = r.id AND i.state = 'pending')
RETURNING r.id
"""


def work_once() -> int:
    """Act on the items that are due, and end finished runs. Return the number of items."""
    items = _lease_items()
    _work(items)
    _end_finished_runs()
    return len(items)


def act_on(run: Run) -> None:
    """Act now on the items of a run that started with its items leased to the caller.

    An item whose action fails is left to a worker.
    """
    items = run.items.filter(state=RunItem.State.PENDING).select_related(*PEOPLE)
    _work(list(items))
    _end_finished_runs()


def _work(items: Sequence[RunItem]) -> None:
    orders = [item.order_id for item in items if item.order_id]
    failing = failing_steps(orders)  # read before acting, because the action may clear the error

    for item in items:
        result = _attempt_action(item)
        if result:
            step = failing.get(item.order_id) if item.order_id else None
            _settle(item, result, step)


def _lease_items() -> list[RunItem]:
    leased = sql.fetch("default", LEASE_DUE_ITEMS, {"lease": LEASE, "limit": BATCH})
    ids = [item_id for (item_id,) in leased]
    return list(RunItem.objects.filter(id__in=ids).select_related(*PEOPLE))


def _attempt_action(item: RunItem) -> ActionResult | None:
    """Apply the run's action to an item; None if another attempt follows."""
    try:
        return _apply(item)
    except Exception as error:  # one item must not stop the others
        logger.warning(
            "Action %s of run %s failed for %s (attempt %d of %d)",
            item.run.action,
            item.run_id,
            item.order_id or item.run.scope,
            item.attempts,
            MAX_ATTEMPTS,
            exc_info=True,
        )
        for connection in connections.all(initialized_only=True):
            connection.close_if_unusable_or_obsolete()
        if item.attempts < MAX_ATTEMPTS:
            return None
        return ActionResult.failed(f"Given up after {MAX_ATTEMPTS} attempts: {error}")


def _apply(item: RunItem) -> ActionResult:
    run, action = item.run, get_action(item.run.action)
    if isinstance(action, StepAction):
        return action.apply(run)
    if not isinstance(action, OrderAction) or item.order_id is None:
        raise TypeError(f"Action {run.action} needs a saga, but item {item.id} has none.")

    saga = find_saga(item.order_id)
    if saga is None:
        return ActionResult.nothing("This saga does not exist.")
    return action.apply(saga, run)


def _settle(item: RunItem, result: ActionResult, failing: StepFailure | None) -> None:
    """Record the result of an item and log it, unless another worker has settled it already."""
    about_failure: About = {}
    if failing:
        about_failure = {"failure": failing.key, "about": failing.about[:MOST_ERROR]}

    with transaction.atomic():
        pending = RunItem.objects.filter(id=item.id, state=RunItem.State.PENDING)
        settled = pending.update(state=result.state, outcome=result.text, ended_at=Now())
        if settled:
            about: About = {"outcome": result.text, "order_id": item.order_id, **about_failure}
            log(item.run, item.run.requested_by, LogEntry.Kind.ACTED, about)


def _end_finished_runs() -> None:
    """End each run without pending items, also where a worker died after the last one."""
    with transaction.atomic():
        for (run_id,) in sql.fetch("default", END_FINISHED_RUNS, {}):
            run = Run.objects.select_related("requested_by", "decided_by").get(id=run_id)
            states = list(run.items.values_list("state", flat=True))
            counts = ", ".join(
                f"{states.count(state)} {state.label}" for state in RunItem.State if state in states
            )
            log(run, run.requested_by, LogEntry.Kind.ENDED, {"outcome": f"{counts}."})
