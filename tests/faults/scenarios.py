"""The scenarios of the fault tests: steps at which faults are armed, and expected results."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from inventory.models import Reservation
from orders.models import Order
from orders.saga import AUTHORIZE_FIRST, PLACE_ORDER
from payments.models import Inbox, Payment
from returns.models import Inbox as ReturnsInbox
from returns.models import Return
from returns.services import cancel_return
from sagas import signal
from sagas.definition.plan import Plan
from sagas.failpoints import Action, Fault, Point
from tests.faults.customer import Customer
from tests.integration.returns.factories import RECEIVE, ask, received

__all__ = [
    "AUTHORIZED",
    "CALLED_OFF",
    "CANCELLED",
    "DECLINED",
    "FULFILLED",
    "RETURNED",
    "SOLD_OUT",
    "WITHHELD",
    "Scenario",
]

EXTERNAL = (
    "payments.charge",
    "payments.refund",
    "payments.authorize",
    "payments.capture",
    "payments.void",
    "payments.refund_part",
)
RELAY = (Point.LEASED, Point.SENT)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The steps where faults are armed, the last event, and the order's expected final status.

    `start` prepares an order, calls its second argument to arm the faults, and lets the order run.
    """

    name: str
    steps: tuple[str, ...]
    last_event: str
    final_status: str
    start: Callable[[Customer, Callable[[], None]], UUID]

    def reached_at(self, point: Point) -> tuple[str, ...]:
        """Return the steps, outbox rows or beat rounds where this scenario reaches a point."""
        if point is Point.ROUND_SENT:
            return ("sagas.flush", "sagas.rescue")

        if point is Point.LEASED and self is SOLD_OUT:
            # The charge itself sends the message to the first step, and this scenario does not
            # fault it.
            return self.steps[1:]

        if point in RELAY:
            # The test requests and cancels returns itself, so its process may send the first one.
            steps = self.steps[1:] if self in (RETURNED, CALLED_OFF) else self.steps
            return (*steps, self.last_event) if self.last_event else steps
        if point in (Point.NOT_CALLED, Point.NOT_RECORDED):
            return tuple(step for step in self.steps if step in EXTERNAL)

        return self.steps

    def faults(self, point: Point, action: Action) -> list[Fault]:
        """Return the faults of one kind that this scenario can hit."""
        return [Fault(point, place, action) for place in self.reached_at(point)]

    def enabling_faults(self, point: Point) -> list[Fault]:
        """Return the faults that make a point reachable: a step's own flush fails, so that the
        relay sends the row.
        """
        return (
            [Fault(Point.COMMITTED, step, Action.RAISE) for step in self.steps]
            if point is Point.LEASED
            else []
        )


def _fulfilled(customer: Customer, arm: Callable[[], None]) -> UUID:
    arm()
    return customer.place()


def _cancelled(customer: Customer, arm: Callable[[], None]) -> UUID:
    """Cancel an order whose stock is reserved, just before the pivot."""
    with customer.system.paused("orders"):
        order = customer.place()
        held = Reservation.objects.filter(order_id=order, state="held")
        customer.system.until(held.exists, "the stock is held")
        arm()
        customer.cancel_until_answered(order)

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
    """Cancel an order after its authorization. Its stock is not reserved before the capture is
    barred.
    """
    customer = _authorizing(customer)
    with customer.system.paused("inventory"):
        order = customer.place()
        authorized = Payment.objects.filter(order_id=order, status="authorized")
        customer.system.until(authorized.exists, "the order is authorized")
        arm()
        customer.cancel_until_answered(order)
        withheld = Inbox.objects.filter(saga=order, step="payments.withhold", state="done")
        customer.system.until(withheld.exists, "the capture is barred")

    return order


def _returned(customer: Customer, arm: Callable[[], None]) -> UUID:
    """Return both mugs of a shipped order. One of them is written off.

    The goods are there before the saga waits for them. Otherwise it would depend on the time how
    often the wait runs.
    """
    order = _shipped(customer)
    arm()
    with transaction.atomic():
        returned = ask(order, MUG=2)
        signal(Return.objects.get(id=returned), RECEIVE, received(MUG=(1, 1)), by="tests")
    return returned


def _called_off(customer: Customer, arm: Callable[[], None]) -> UUID:
    """Cancel a return that waits for its goods."""
    returned = ask(_shipped(customer), MUG=1)
    waits = ReturnsInbox.objects.filter(saga=returned, step=RECEIVE, state="waiting")
    customer.system.until(waits.exists, "the return waits for its goods")
    arm()
    cancel_return(Return.objects.get(id=returned))
    return returned


def _shipped(customer: Customer) -> Order:
    order = customer.place(quantity=2)
    ended = Order.objects.filter(id=order, status="fulfilled", ended_at__isnull=False)
    customer.system.until(ended.exists, "the order is shipped")
    return ended.get()


def _authorizing(customer: Customer) -> Customer:
    return Customer(customer.system, url=customer.system.authorizing_url)


def _steps(plan: Plan, first: str, last: str = "") -> tuple[str, ...]:
    """Return the steps of a saga from the first to the last, or to its end."""
    steps = [first]
    while steps[-1] != last and (following := plan.after(steps[-1])):
        steps.append(following)
    return tuple(steps)


# The steps of a further service are steps of these plans, too.
CHARGE_PLAN, AUTHORIZE_PLAN = PLACE_ORDER.plan, AUTHORIZE_FIRST.plan
CHARGE = "payments.charge"

FULFILLED = Scenario(
    name="fulfilled",
    steps=_steps(CHARGE_PLAN, CHARGE_PLAN.first),
    last_event="stock.shipped",
    final_status="fulfilled",
    start=_fulfilled,
)
CANCELLED = Scenario(
    name="cancelled",
    steps=_steps(CHARGE_PLAN, CHARGE_PLAN.after_cancel()),
    last_event="order.cancelled",
    final_status="cancelled",
    start=_cancelled,
)
AUTHORIZED = Scenario(
    name="authorized",
    steps=_steps(AUTHORIZE_PLAN, AUTHORIZE_PLAN.first),
    last_event="stock.shipped",
    final_status="fulfilled",
    start=_authorized,
)
WITHHELD = Scenario(
    name="withheld",
    steps=_steps(AUTHORIZE_PLAN, "payments.withhold"),
    last_event="order.cancelled",
    final_status="cancelled",
    start=_withheld,
)
SOLD_OUT = Scenario(
    name="sold out",
    steps=("inventory.reserve", "payments.refund"),
    last_event="",
    final_status="cancelled",
    start=_sold_out,
)
DECLINED = Scenario(
    name="declined",
    steps=(
        *_steps(CHARGE_PLAN, CHARGE_PLAN.first, CHARGE),
        *_steps(CHARGE_PLAN, CHARGE_PLAN.after_refusal(CHARGE)),
    ),
    last_event="order.cancelled",
    final_status="cancelled",
    start=_declined,
)
RETURNED = Scenario(
    name="returned",
    steps=(
        "returns.receive",
        "returns.accept",
        "payments.refund_part",
        "inventory.restock",
        "returns.complete",
    ),
    last_event="return.completed",
    final_status="completed",
    start=_returned,
)
CALLED_OFF = Scenario(
    name="called off",
    steps=("returns.receive.close", "returns.close"),
    last_event="return.closed",
    final_status="cancelled",
    start=_called_off,
)
