"""Stock to reserve, and the steps as the engine runs them: a batch in one transaction."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction

from inventory.models import Reservation, StockItem
from inventory.services import adjust_stock
from sagas.definition.handlers import Delivery, Outcome, Waiting, definition
from sagas.ids import uuid7


def run(step: str, *deliveries: Delivery[Any]) -> list[Outcome]:
    """Run a step for some deliveries, as one batch in one transaction."""
    registered = definition(step)
    assert registered is not None
    assert callable(registered.handler)
    with transaction.atomic(using="inventory"):
        return list(registered.handler(sorted(deliveries, key=lambda delivery: delivery.saga)))


def run_until_decided(step: str, *deliveries: Delivery[Any]) -> list[Outcome]:
    """Run a step as often as some delivery waits for a locked item, as the engine does."""
    outcomes: dict[UUID, Outcome] = {}
    deadline = time.monotonic() + 60
    while left := [each for each in deliveries if not _is_decided(outcomes.get(each.saga))]:
        assert time.monotonic() < deadline, "The items stay locked."
        found = run(step, *left)
        outcomes |= zip(sorted(each.saga for each in left), found, strict=True)
    return [outcomes[saga] for saga in sorted(outcomes)]


def _is_decided(outcome: Outcome | None) -> bool:
    return outcome is not None and not isinstance(outcome, Waiting)


def order(
    step: str, lines: dict[str, int] | Sequence[tuple[str, int]] = (), **about: Any
) -> Delivery[Any]:
    """Return a delivery of a step, its context validated as the engine validates it."""
    pairs = lines.items() if isinstance(lines, dict) else lines
    context = {
        "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in pairs],
        "amount": 1,
    }
    registered = definition(step)
    assert registered is not None
    return Delivery(
        saga=about.pop("saga", None) or uuid7(),
        context=msgspec.convert(context, registered.accepts),
        **about,
    )


def received(**pieces: int) -> None:
    """Put pieces on hand, by SKU."""
    for sku, quantity in pieces.items():
        adjust_stock(sku=sku, quantity=quantity, reason="received", by="staff")


def counters(sku: str) -> tuple[int, int, int]:
    """Return on hand, reserved, shipped."""
    item = StockItem.objects.get(sku=sku)
    return item.on_hand, item.reserved, item.shipped


def states(saga: UUID) -> dict[str, str]:
    """Return the state of an order's reservations, by SKU."""
    return {
        held.item.sku: held.state
        for held in Reservation.objects.filter(order_id=saga).select_related("item")
    }
