from shop.models import Order
from shop.saga import OrderPlaced, ReturnAsked

from sagas import Delivery, Event, Refusal, action, undo


class Ended(Event, frozen=True):
    type = "shop.ended"


class NotConfirmed(Refusal, frozen=True):
    type = "shop.not_confirmed"


@action("shop.confirm", refusal=NotConfirmed)
def confirm(order: Delivery[OrderPlaced]) -> Ended:
    Order.objects.filter(pk=order.saga).update(status="confirmed")
    return Ended()


@undo("shop.cancel")
def cancel(order: Delivery[OrderPlaced]) -> Ended:
    Order.objects.filter(pk=order.saga).update(status="cancelled")
    return Ended()


@action("shop.take_back", refusal=NotConfirmed)
def take_back(order: Delivery[ReturnAsked]) -> Ended:
    Order.objects.filter(pk=order.saga).update(status="taken back")
    return Ended()


@undo("shop.keep")
def keep(order: Delivery[ReturnAsked]) -> Ended:
    Order.objects.filter(pk=order.saga).update(status="kept")
    return Ended()
