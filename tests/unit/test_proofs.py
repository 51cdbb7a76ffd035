"""A request proves the events of payments and inventory, and invents none of another service."""

from datetime import UTC, datetime

import pytest
from msgspec import structs

from orders.saga import PLACE_ORDER
from recovery.journal import Event, Journal
from recovery.proofs import proven_events
from sagas.definition.plan import Step
from sagas.ids import uuid7
from tests.shop import of_shop

SHOP = of_shop(PLACE_ORDER.plan)
WITH_TRIPS = structs.replace(SHOP, steps=(Step("trips.book", undo="trips.cancel"), *SHOP.steps))


def event(type_: str, seq: int, step: str = "") -> Event:
    """Return a stored event of orders."""
    return Event(
        id=uuid7(),
        seq=seq,
        type=type_,
        service="orders",
        step=step,
        attempt=1,
        at=datetime.now(UTC),
        data={},
        context={"amount": 1_000, "currency": "eur"},
        stored=True,
    )


@pytest.mark.parametrize(
    ("plan", "service", "expected"),
    [
        (SHOP, "payments", [("payment.refunded", "payments.refund")]),
        (WITH_TRIPS, "payments", []),
        (WITH_TRIPS, "trips", []),
    ],
)
def test_a_cancelled_order_proves_a_refund_of_payments_only(plan, service, expected):
    events = [event("order.created", 0), event("order.cancelled", 4, "orders.cancel")]
    journal = Journal(uuid7(), events=events)

    proven = proven_events(journal, plan, service)

    assert [(found.type, found.step) for found in proven] == expected
