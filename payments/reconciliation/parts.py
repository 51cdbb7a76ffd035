"""One part of a window: its statement is read, compared, and only then stored by the caller."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import pairwise

from msgspec import Struct

from payments.gateways import gateway_class, get_gateway
from payments.gateways.base import Movement
from payments.reconciliation.budget import Budget
from payments.reconciliation.comparison import Comparison, compare_movements
from payments.reconciliation.missing import (
    missing_parts,
    missing_payments,
    missing_refunds,
    pages,
    payments_of_charges,
)

__all__ = [
    "FIRST_PART",
    "SHORTEST_PART",
    "PartResult",
    "PartTooLong",
    "compare_part",
    "longer",
    "shorter",
]

# Movements in one comparison.
PAGE = 500

# The length of a window's first part. It is divided by four where a part is too long for a task,
# and doubled where a part was easy. Stripe's lists have a resolution of a second.
FIRST_PART = timedelta(minutes=10)
SHORTEST_PART = timedelta(seconds=1)

# Movements. A part with fewer than FEW may be followed by a longer one. A part with more than MOST
# is divided, because they are held in memory: some ten megabytes.
FEW = 500
MOST = 10_000


class PartTooLong(Exception):
    """A part has more movements than a task should hold in memory."""


class PartResult(Struct, frozen=True, kw_only=True):
    """The comparison of a part, and the number of its movements."""

    movements: int
    comparison: Comparison


def compare_part(gateway: str, since: datetime, until: datetime, budget: Budget) -> PartResult:
    """Compare a part of a window. Write nothing.

    Raise PartTooLong if it has too many movements, BudgetSpent if the budget is used up, and
    StatementUnavailable if the gateway does not return all movements. The shortest part has no
    budget, because it cannot be divided.
    """
    if until - since <= SHORTEST_PART:
        budget = Budget()
    movements = _read(gateway, since, until, budget)
    result = Comparison(discrepancies=[], to_refund=[], to_read=[])
    for page in pages(movements, PAGE):
        found = compare_movements(page)
        result.discrepancies.extend(found.discrepancies)
        result.to_refund.extend(found.to_refund)
        result.to_read.extend(found.to_read)

    charged = {each.charge_id for each in movements if each.kind == "capture"}
    result.discrepancies.extend(missing_payments(gateway, since, until, charged, budget))
    result.to_read.extend(missing_refunds(gateway, since, until, _given_back(movements)))
    keys = {each.key for each in movements if each.kind == "refund"}
    result.to_read.extend(missing_parts(gateway, since, until, keys))
    failed = get_gateway(gateway).failed_refunds(since, until)
    result.to_read.extend(payments_of_charges(failed))
    return PartResult(movements=len(movements), comparison=result)


def longer(part: timedelta) -> timedelta:
    """Return the length of the part after an easy one."""
    return 2 * part


def shorter(part: timedelta) -> timedelta:
    """Return the length with which a part is tried again that was too long."""
    return max(part / 4, SHORTEST_PART)


def _given_back(movements: Sequence[Movement]) -> Counter[str]:
    """Return the amounts that refunds and disputes have given back, by charge, in minor units."""
    given_back: Counter[str] = Counter()
    for each in movements:
        if each.kind != "capture":
            sign = -1 if each.kind == "dispute_return" else 1
            given_back[each.charge_id] += sign * each.amount
    return given_back


def _read(gateway: str, since: datetime, until: datetime, budget: Budget) -> list[Movement]:
    """Return all movements of a part. A gateway that allows it is read in several threads."""
    readers = gateway_class(gateway).statement_readers
    most = MOST if until - since > SHORTEST_PART else None
    if readers == 1:
        return _read_slice(gateway, since, until, budget, most)

    times = [since + (until - since) * number / readers for number in range(readers)]
    with ThreadPoolExecutor(readers, thread_name_prefix="statement") as threads:
        slices = [
            threads.submit(_read_slice, gateway, start, end, budget, most)
            for start, end in pairwise([*times, until])
        ]
        return [movement for each in slices for movement in each.result()]


def _read_slice(
    gateway: str, since: datetime, until: datetime, budget: Budget, most: int | None
) -> list[Movement]:
    movements: list[Movement] = []
    for movement in get_gateway(gateway).statement(since, until):
        budget.check()
        movements.append(movement)
        if most is not None and len(movements) > most:
            raise PartTooLong
    return movements
