"""The steps of the bank. The amount of a booking is the instruction of a test."""

from bank.models import Booking
from msgspec import Struct

from sagas import Delivery, Event, Refusal, action, undo

REFUSED, RAISES, RAISES_ONCE = 400, 500, 501


class Money(Struct, frozen=True):
    amount: int


class Booked(Event, frozen=True):
    type = "bank.booked"


class NotBooked(Refusal, frozen=True):
    type = "bank.not_booked"


class Removed(Event, frozen=True):
    type = "bank.removed"


@action("bank.book", refusal=NotBooked)
def book(order: Delivery[Money]) -> Booked | NotBooked:
    amount = order.context.amount
    if amount == REFUSED:
        return NotBooked(code="refused", detail="The bank refuses.")
    Booking.objects.create(saga=order.saga, amount=amount)
    if amount == RAISES or (amount == RAISES_ONCE and order.attempt + order.uncounted == 1):
        raise ValueError("The bank's computer says no.")
    return Booked()


@undo("bank.remove")
def remove(order: Delivery[Money]) -> Removed:
    Booking.objects.filter(saga=order.saga).delete()
    return Removed()


@action("bank.pay_back", refusal=NotBooked)
def pay_back(order: Delivery[Money]) -> Booked:
    Booking.objects.create(saga=order.saga, amount=-order.context.amount)
    return Booked()
