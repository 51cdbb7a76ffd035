"""The saga of a return: of goods that come back, and of money that the shop gives out of goodwill.

Until `returns.accept` it may be refused, cancelled or expire, and nothing has moved. From then on
the money goes back, and the goods are in stock again or written off. A return of free products has
no refund.
"""

from returns.events import ReturnRequested
from returns.status import Kind
from sagas import Saga, Step, Wait

__all__ = ["RETURN_GOODS", "has_goods", "needs_approval", "refunds_money"]


def needs_approval(requested: ReturnRequested) -> bool:
    """Tell whether a person must approve the refund."""
    return requested.needs_approval


def has_goods(requested: ReturnRequested) -> bool:
    """Tell whether goods come back."""
    return requested.kind == Kind.GOODS


def refunds_money(requested: ReturnRequested) -> bool:
    """Tell whether the returned products have cost money."""
    return requested.amount > 0


RETURN_GOODS = Saga(
    "return_goods",
    Wait("returns.approve", when=needs_approval),
    Wait("returns.receive", when=has_goods),
    Step("returns.accept", pivot=True),  # decides the amount, by the pieces that came back
    Step("payments.refund_part", when=refunds_money),
    Step("inventory.restock", when=has_goods),
    Step("returns.complete"),
    abort="returns.close",
    started_by=ReturnRequested,
)
