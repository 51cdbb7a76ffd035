"""The ways an order can go, each with the steps it takes: where faults are put, and how it must
end all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from inventory.models import Reservation
from payments.models import Inbox, Payment
from sagas.testing.failpoints import Action, Fault, Point
from tests.faults.customer import Customer

__all__ = ["AUTHORIZED", "CALLED_OFF", "DECLINED", "FULFILLED", "SOLD_OUT", "WITHHELD", "Walk"]

EXTERNAL = (
    "payments.charge",
    "payments.refund",
    "payments.authorize",
    "payments.capture",
    "payments.void",
)
RELAY = (Point.LEASED, Point.SENT)


@dataclass(frozen=True, kw_only=True)
class Walk:
    """A walk: those of its steps at which faults are armed, its last event, and how its order must
    end.

    `begin` readies an order, calls what it is given to arm the faults, and sets the order going.
    """

    name: str
    steps: tuple[str, ...]
    last_event: str
    ends: str
    begin: Callable[[Customer, Callable[[], None]], UUID]

    def places(self, point: Point) -> tuple[str, ...]:
        """Return where on this walk a point is reached: at steps, at rows of the outbox, in
        rounds of beat.
        """
        if point is Point.ROUND_SENT:
            return ("sagas.flush", "sagas.rescue")
        if point is Point.LEASED and self is SOLD_OUT:
            return self.steps[
                1:
            ]  # what goes to the first is sent by the charge itself, which no fault of this walk meets
        if point in RELAY:
            return (*self.steps, self.last_event) if self.last_event else self.steps
        if point in (Point.NOT_CALLED, Point.NOT_RECORDED):
            return tuple(step for step in self.steps if step in EXTERNAL)
        return self.steps

    def faults(self, point: Point, action: Action) -> list[Fault]:
        """Return the faults of one kind that this walk can meet."""
        return [Fault(point, place, action) for place in self.places(point)]

    def helpers(self, point: Point) -> list[Fault]:
        """Return what must go wrong before a point is reached: steps send their rows themselves,
        where they can.
        """
        return (
            [Fault(Point.COMMITTED, step, Action.RAISE) for step in self.steps]
            if point is Point.LEASED
            else []
        )


def _fulfilled(customer: Customer, arm: Callable[[], None]) -> UUID:
    arm()
    return customer.place()


def _called_off(customer: Customer, arm: Callable[[], None]) -> UUID:
    """Call an order off when its stock is held and nothing but the pivot is missing."""
    with customer.machine.without("orders"):
        order = customer.place()
        held = Reservation.objects.filter(order_id=order, state="held")
        customer.machine.until(held.exists, "the stock is held")
        arm()
        customer.insist_on_calling_off(order)
    return order


def _sold_out(customer: Customer, arm: Callable[[], None]) -> UUID:
    arm()
    return customer.place(sku="RARE", quantity=4)


def _declined(customer: Customer, arm: Callable[[], None]) -> UUID:
    arm()
    return customer.place(method="pm_card_chargeDeclined")


def _authorized(customer: Customer, arm: Callable[[], None]) -> UUID:
    arm()
    return _authorizing(customer).place()


def _withheld(customer: Customer, arm: Callable[[], None]) -> UUID:
    """Call an order off when it is authorized; its stock is not held before the capture is
    barred.
    """
    customer = _authorizing(customer)
    with customer.machine.without("inventory"):
        order = customer.place()
        authorized = Payment.objects.filter(order_id=order, status="authorized")
        customer.machine.until(authorized.exists, "the order is authorized")
        arm()
        customer.insist_on_calling_off(order)
        withheld = Inbox.objects.filter(saga=order, step="payments.withhold", state="done")
        customer.machine.until(withheld.exists, "the capture is barred")
    return order


def _authorizing(customer: Customer) -> Customer:
    return Customer(customer.machine, url=customer.machine.authorizing_url)


FULFILLED = Walk(
    name="fulfilled",
    steps=("payments.charge", "inventory.reserve", "orders.fulfil", "inventory.ship"),
    last_event="stock.shipped",
    ends="fulfilled",
    begin=_fulfilled,
)
CALLED_OFF = Walk(
    name="called off",
    steps=("inventory.release", "payments.refund", "orders.cancel"),
    last_event="order.cancelled",
    ends="cancelled",
    begin=_called_off,
)
AUTHORIZED = Walk(
    name="authorized",
    steps=(
        "payments.authorize",
        "inventory.reserve",
        "payments.capture",
        "orders.fulfil",
        "inventory.ship",
    ),
    last_event="stock.shipped",
    ends="fulfilled",
    begin=_authorized,
)
WITHHELD = Walk(
    name="withheld",
    steps=("payments.withhold", "inventory.release", "payments.void", "orders.cancel"),
    last_event="order.cancelled",
    ends="cancelled",
    begin=_withheld,
)
SOLD_OUT = Walk(
    name="sold out",
    steps=("inventory.reserve", "payments.refund"),
    last_event="",
    ends="cancelled",
    begin=_sold_out,
)
DECLINED = Walk(
    name="declined",
    steps=("payments.charge", "orders.cancel"),
    last_event="order.cancelled",
    ends="cancelled",
    begin=_declined,
)
