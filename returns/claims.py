"""The pieces and the money of an order that no return claims yet.

A return claims both from its request on, until it is refused or cancelled. Once its goods have come
back, it claims only the pieces that did, and the money that is refunded for them.
"""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from django.db.models import Sum
from django.db.models.functions import Coalesce

from returns.events import LineReturned
from returns.models import Return, ReturnedOrder, ReturnLine
from returns.returnable_orders import ChargedOrder
from returns.status import FREED

__all__ = ["TooMuch", "lock_order", "money_left", "require_pieces"]


class TooMuch(Exception):
    """Less is left of the order than the return asks for; nothing is changed.

    `sku` is the first line of which less is left, and `left` the number of its pieces. `sku` is
    None if the money does not suffice; then `left` is in minor units. `is_free`: the order has
    never cost anything.
    """

    def __init__(self, sku: str | None, left: int, *, is_free: bool = False) -> None:
        self.sku, self.left = sku, left
        rest = f"{left} pieces of {sku}" if sku else f"{left} minor units of its amount"
        super().__init__(
            "The order was free, so there is no money to give back."
            if is_free
            else f"The order has {rest} left for returns."
        )


def lock_order(order_id: UUID, order: ChargedOrder) -> None:
    """Lock the row of an order until the transaction ends; insert it first if it is missing."""
    row = ReturnedOrder(
        order_id=order_id, user_id=order.user_id, amount=order.amount, currency=order.currency
    )
    ReturnedOrder.objects.bulk_create([row], ignore_conflicts=True)
    ReturnedOrder.objects.select_for_update().get(order_id=order_id)


def require_pieces(order_id: UUID, order: ChargedOrder, lines: Sequence[LineReturned]) -> None:
    """Raise `TooMuch` unless the pieces of the lines are left. The caller has locked the order."""
    taken = _taken(order_id) if lines else Counter[str]()
    for line in lines:
        charged = order.line_of(line.sku)
        left = (charged.quantity if charged else 0) - taken[line.sku]
        if line.quantity > left:
            raise TooMuch(line.sku, left)


def _taken(order_id: UUID) -> Counter[str]:
    """Return the pieces of each SKU that other returns of an order claim.

    Once the goods have come back, only the pieces that did.
    """
    lines = ReturnLine.objects.filter(of_return__order=order_id)
    by_sku = lines.exclude(of_return__status__in=FREED).values_list("sku")
    return Counter(dict(by_sku.annotate(pieces=Sum(Coalesce("received", "quantity"))).order_by()))


def money_left(order_id: UUID, order: ChargedOrder) -> int:
    """Return the money of an order that no return claims, in minor units."""
    claiming = Return.objects.filter(order=order_id).exclude(status__in=FREED)
    return order.amount - int(claiming.aggregate(sum=Sum("amount"))["sum"] or 0)
