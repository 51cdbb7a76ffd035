"""The customers' operations, drawn from a seed: place orders of every kind, retry, cancel, return
them.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from tools.local.demo.order_kinds import PRODUCTS, Product

__all__ = ["KINDS", "Operation", "OrderKind", "OrderRequest", "operations", "products"]


@dataclass(frozen=True, kw_only=True)
class OrderKind:
    """One kind of order: its share in percent, its content, and its allowed outcomes.

    `may_end` holds for orders that no customer cancels.
    """

    title: str
    share: int
    skus: tuple[str, ...]
    payment_methods: tuple[str, ...] = ("pm_card_visa",)
    may_end: frozenset[str]


KINDS = (
    OrderKind(
        title="paid by card", share=54, skus=("MUG", "SHIRT"), may_end=frozenset({"fulfilled"})
    ),
    # Like an order that is paid by card, it draws one or two products and one payment method. So
    # the same seed goes on drawing the same other orders.
    OrderKind(
        title="free product",
        share=6,
        skus=("STICKER", "SAMPLE"),
        payment_methods=("",),
        may_end=frozenset({"fulfilled", "out_of_stock"}),
    ),
    OrderKind(
        title="card declined",
        share=10,
        skus=("MUG",),
        payment_methods=("pm_card_chargeDeclined", "pm_card_chargeDeclinedInsufficientFunds"),
        may_end=frozenset({"payment_declined"}),
    ),
    OrderKind(
        title="product sold out", share=8, skus=("POSTER",), may_end=frozenset({"out_of_stock"})
    ),
    OrderKind(
        title="three buyers for each piece",
        share=12,
        skus=("LAMP",),
        may_end=frozenset({"fulfilled", "out_of_stock"}),
    ),
    OrderKind(
        title="the gateway's answer lost",
        share=10,
        skus=("MUG",),
        payment_methods=("pm_sim_timeout_charged", "pm_sim_timeout_lost", "pm_sim_500_charged"),
        may_end=frozenset({"fulfilled"}),
    ),
)
RETURNED = KINDS[:2]
# Pieces in stock for each order placed: plenty, too few, or none.
STOCK: Mapping[str, float] = {
    "MUG": 4,
    "SHIRT": 4,
    "LAMP": 0.04,
    "POSTER": 0,
    "STICKER": 4,
    "SAMPLE": 0.02,
}
SAMPLE = Product(sku="SAMPLE", name="Sample, free", unit_amount=0, stock=0)

CANCELLED_SHARE = 0.10
SENT_AGAIN_SHARE = 0.05
# Of the orders that are paid by card, and of the free ones.
RETURNED_SHARE = 0.10
# A cancel or retry follows its order within this many operations: at once, or after it has ended.
SECOND_THOUGHTS = 120


@dataclass(frozen=True, kw_only=True)
class OrderRequest:
    """An order to place, with its own idempotency key. A free one has no payment method."""

    key: str
    kind: OrderKind
    skus: tuple[str, ...]
    quantity: int
    payment_method: str

    @property
    def body(self) -> dict[str, object]:
        """The JSON body of the request."""
        lines = [{"sku": sku, "quantity": self.quantity} for sku in self.skus]
        paid = {"payment_method": self.payment_method} if self.payment_method else {}
        return {"lines": lines, **paid}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One request of a customer: `place`, `again` (place with the same key), `cancel`, or `return`
    (of all pieces, if the order is fulfilled by then).
    """

    verb: str
    request: OrderRequest


def products(orders: int) -> list[Product]:
    """Return the products, with enough stock for a number of orders."""
    return [
        Product(
            sku=product.sku,
            name=product.name,
            unit_amount=product.unit_amount,
            stock=round(STOCK[product.sku] * orders),
        )
        for product in (*PRODUCTS, SAMPLE)
    ]


def operations(*, orders: int, seed: int) -> list[Operation]:
    """Return all operations in order: an order is placed before it is retried or cancelled."""
    rng = random.Random(f"errands {seed}")  # a seed draws the same orders in every release
    placed = [(float(number), "place", _wish(rng)) for number in range(orders)]
    later = [
        operation
        for number, _, request in placed
        for operation in _afterwards(number, request, rng)
    ]
    # Returns have numbers of their own, so that the same seed goes on drawing the same orders.
    returning = list(_returns(placed, random.Random(f"returns {seed}")))
    in_order = sorted([*placed, *later, *returning], key=lambda operation: operation[0])

    return [Operation(verb=verb, request=request) for _, verb, request in in_order]


def _returns(
    placed: list[tuple[float, str, OrderRequest]], rng: random.Random
) -> Iterator[tuple[float, str, OrderRequest]]:
    for number, _, request in placed:
        if request.kind in RETURNED and rng.random() < RETURNED_SHARE:
            yield number + SECOND_THOUGHTS * (0.5 + rng.random() / 2), "return", request


def _wish(rng: random.Random) -> OrderRequest:
    (kind,) = rng.choices(KINDS, weights=[kind.share for kind in KINDS])
    return OrderRequest(
        key=str(UUID(int=rng.getrandbits(128), version=4)),
        kind=kind,
        skus=kind.skus[: rng.randint(1, len(kind.skus))],
        quantity=rng.randint(1, 2) if "LAMP" not in kind.skus else 1,
        payment_method=rng.choice(kind.payment_methods),
    )


def _afterwards(
    number: float, request: OrderRequest, rng: random.Random
) -> Iterator[tuple[float, str, OrderRequest]]:
    if rng.random() < CANCELLED_SHARE:
        # Most cancels come early, because most orders end within a moment.
        yield number + SECOND_THOUGHTS * rng.random() ** 3, "cancel", request

    if rng.random() < SENT_AGAIN_SHARE:
        yield number + SECOND_THOUGHTS * rng.random(), "again", request
