"""Reconciliation of a whole window, for the command, and of the scheduled windows, for beat."""

import logging
from collections.abc import Callable
from datetime import datetime

import msgspec
from django.core.exceptions import ImproperlyConfigured
from msgspec import Struct

from payments.gateways.base import StatementUnavailable
from payments.models import Reconciliation
from payments.reconciliation import windows
from payments.reconciliation.budget import Budget, BudgetSpent
from payments.reconciliation.comparison import Discrepancy
from payments.reconciliation.drifts import open_discrepancies
from payments.reconciliation.parts import FEW, PartTooLong, compare_part, longer, shorter
from payments.reconciliation.windows import LeaseLost, Window, gateways_in_use

__all__ = ["Result", "reconcile", "reconcile_scheduled"]

logger = logging.getLogger(__name__)

Progress = Callable[[Window], None]


class Result(Struct, frozen=True, kw_only=True):
    """The result of a comparison. `open` has the discrepancies that no person has closed."""

    gateways: tuple[str, ...]
    since: datetime
    until: datetime
    movements: int
    open: tuple[Discrepancy, ...]


class Parts(Struct):
    """The parts that were compared: their number, movements and discrepancies."""

    count: int = 0
    movements: int = 0
    discrepancies: list[Discrepancy] = msgspec.field(default_factory=list)


def reconcile(
    since: datetime, until: datetime, *, progress: Progress = lambda window: None
) -> Result:
    """Compare a whole window with the statement of every gateway in use, part by part.

    The window ends with the whole second at or after `until`. Stripe's lists have a resolution of a
    second, so a window that ends within a second would lack that second's movements.
    Each part is stored. `progress` is called after each. The scheduled windows stay as they are.
    Raise StatementUnavailable if a gateway does not return its statement.
    """
    until = windows.whole_second(until)
    total = Parts()
    gateways = gateways_in_use(since)
    for gateway in gateways:
        row = Reconciliation.objects.create(
            gateway=gateway,
            scheduled=False,
            since=since,
            until=until,
            compared_until=since,
            movements=0,
            drifts=0,
            finished_at=None,
        )
        window = Window(id=row.id, gateway=gateway, compared_until=since, until=until)
        _compare(window, Budget(), total, progress)
    return Result(
        gateways=tuple(gateways),
        since=since,
        until=until,
        movements=total.movements,
        open=open_discrepancies(total.discrepancies),
    )


def reconcile_scheduled(budget_for: Callable[[int], Budget]) -> int:
    """Compare parts of the scheduled windows until the budgets are used up.

    `budget_for` gets the number of gateways, and makes the budget of each. Return how many windows
    this worker has begun and could go on with at once.
    """
    gateways = windows.open_due()
    claimed = (window for gateway in gateways if (window := windows.claim(gateway)))
    return sum(_continue(window, budget_for(len(gateways))) for window in claimed)


def _continue(window: Window, budget: Budget) -> bool:
    """Compare the next parts; return whether some are left that can be compared at once."""
    error = ""
    try:
        _compare(window, budget, Parts())
    except LeaseLost as lost:
        logger.warning("Reconciliation stops: %s", lost)
        return False
    except (StatementUnavailable, ImproperlyConfigured) as unavailable:
        error = str(unavailable)
        logger.warning(
            "Reconciliation with %s has compared up to %s and is tried again: %s",
            window.gateway,
            window.compared_until,
            error,
        )
    finally:
        windows.release(window, error=error)
    return not window.is_finished and not error


def _compare(
    window: Window, budget: Budget, total: Parts, progress: Progress = lambda window: None
) -> None:
    """Compare parts until the window is finished or the budget is used up."""
    longest = 0.0
    while not window.is_finished and budget.allows(longest):
        start = budget.clock()
        try:
            result = compare_part(window.gateway, window.compared_until, window.part_until, budget)
        except PartTooLong:
            window.part = shorter(window.part)
            continue
        except BudgetSpent:
            if not total.count:  # it had the whole budget
                window.part = shorter(window.part)
            return

        took = budget.clock() - start
        longest = max(longest, took)
        is_easy = result.movements < FEW and 4 * took <= budget.seconds
        windows.advance(window, result, longer(window.part) if is_easy else window.part)
        total.count += 1
        total.movements += result.movements
        total.discrepancies += result.comparison.discrepancies
        progress(window)
