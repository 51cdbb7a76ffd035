"""The steps of the packing service."""

import msgspec

from packing.models import Parcel
from sagas import Delivery, Event, Refusal, action, undo

MOST = 900


class Packed(Event, frozen=True):
    type = "parcel.packed"


class Unpacked(Event, frozen=True):
    type = "parcel.unpacked"


class TooLarge(Refusal, frozen=True):
    type = "parcel.too_large"


class ToPack(msgspec.Struct):
    amount: int


@action("packing.pack", refusal=TooLarge)
def pack(order: Delivery[ToPack]) -> Packed | TooLarge:
    """Pack the goods, if they fit into a parcel."""
    if order.context.amount > MOST:
        return TooLarge(code="too_large", detail="The goods fit into no parcel.")
    Parcel.objects.create(order=order.saga)
    return Packed()


@undo("packing.unpack")
def unpack(order: Delivery[ToPack]) -> Unpacked:
    """Take the goods out again, if they were packed."""
    Parcel.objects.filter(order=order.saga).delete()
    return Unpacked()
