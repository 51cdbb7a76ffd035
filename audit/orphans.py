"""Orders that other tables name and the orders table does not have."""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from audit.databases import fetch

__all__ = ["Orphans", "find_orphans"]

EXISTING = "SELECT id FROM orders_order WHERE id = ANY(%(orders)s::uuid[])"


class Orphans(NamedTuple):
    """Order ids that other tables name and the orders table does not have.

    `checked`: how many distinct ids were looked up.
    """

    checked: int
    ids: list[UUID]


def find_orphans(pages: Iterable[list[UUID]]) -> Orphans:
    """Return the order ids that the orders table does not have.

    Orders are looked up last, because an order is committed before another service can name it.
    """
    checked: int = 0
    missing: list[UUID] = []
    for ids in pages:
        existing = {order for (order,) in fetch("default", EXISTING, {"orders": ids})}
        checked += len(ids)
        missing += [order for order in ids if order not in existing]
    return Orphans(checked, missing)
