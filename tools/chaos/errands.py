"""What the customers are up to: orders of every kind, sent again, cancelled. Drawn from a seed."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from tools.local.demo.script import PRODUCTS, Product

__all__ = ["KINDS", "CustomerKind", "Errand", "Wish", "errands", "products"]


@dataclass(frozen=True, kw_only=True)
class CustomerKind:
    """Orders of one kind: how many of a hundred, what for, how paid, and how they may end if
    nobody cancels them.
    """

    title: str
    share: int
    skus: tuple[str, ...]
    payment_methods: tuple[str, ...] = ("pm_card_visa",)
    may_end: frozenset[str]


KINDS = (
    CustomerKind(
        title="paid by card", share=60, skus=("MUG", "SHIRT"), may_end=frozenset({"fulfilled"})
    ),
    CustomerKind(
        title="card declined",
        share=10,
        skus=("MUG",),
        payment_methods=("pm_card_chargeDeclined", "pm_card_chargeDeclinedInsufficientFunds"),
        may_end=frozenset({"payment_declined"}),
    ),
    CustomerKind(
        title="product sold out", share=8, skus=("POSTER",), may_end=frozenset({"out_of_stock"})
    ),
    CustomerKind(
        title="three buyers for each piece",
        share=12,
        skus=("LAMP",),
        may_end=frozenset({"fulfilled", "out_of_stock"}),
    ),
    CustomerKind(
        title="the gateway's answer lost",
        share=10,
        skus=("MUG",),
        payment_methods=("pm_sim_timeout_charged", "pm_sim_timeout_lost", "pm_sim_500_charged"),
        may_end=frozenset({"fulfilled"}),
    ),
)
# Pieces of each product for one order placed: of some plenty, of some too few, of some none.
STOCK: Mapping[str, float] = {"MUG": 4, "SHIRT": 4, "LAMP": 0.04, "POSTER": 0}

CANCELLED_SHARE = 0.10
SENT_AGAIN_SHARE = 0.05
# A change of mind follows the order after so many other errands: from at once to when it is over.
SECOND_THOUGHTS = 120


@dataclass(frozen=True, kw_only=True)
class Wish:
    """An order that somebody wants, under a key of its own."""

    key: str
    kind: CustomerKind
    skus: tuple[str, ...]
    quantity: int
    payment_method: str

    @property
    def body(self) -> dict[str, object]:
        """What is sent to place it."""
        lines = [{"sku": sku, "quantity": self.quantity} for sku in self.skus]
        return {"lines": lines, "payment_method": self.payment_method}


@dataclass(frozen=True, kw_only=True)
class Errand:
    """One thing a customer does: `place`, place `again` under the same key, or `cancel`."""

    deed: str
    wish: Wish


def products(orders: int) -> list[Product]:
    """Return what is for sale, and how much of it, to so many orders."""
    return [
        Product(
            sku=product.sku,
            name=product.name,
            unit_amount=product.unit_amount,
            stock=round(STOCK[product.sku] * orders),
        )
        for product in PRODUCTS
    ]


def errands(*, orders: int, seed: int) -> list[Errand]:
    """Return everything the customers do, in order; an order always comes before what is done to
    it.
    """
    dice = random.Random(f"errands {seed}")
    placed = [(float(number), "place", _wish(dice)) for number in range(orders)]
    later = [errand for number, _, wish in placed for errand in _afterwards(number, wish, dice)]
    in_order = sorted([*placed, *later], key=lambda errand: errand[0])
    return [Errand(deed=deed, wish=wish) for _, deed, wish in in_order]


def _wish(dice: random.Random) -> Wish:
    (kind,) = dice.choices(KINDS, weights=[kind.share for kind in KINDS])
    return Wish(
        key=str(UUID(int=dice.getrandbits(128), version=4)),
        kind=kind,
        skus=kind.skus[: dice.randint(1, len(kind.skus))],
        quantity=dice.randint(1, 2) if "LAMP" not in kind.skus else 1,
        payment_method=dice.choice(kind.payment_methods),
    )


def _afterwards(
    number: float, wish: Wish, dice: random.Random
) -> Iterator[tuple[float, str, Wish]]:
    if dice.random() < CANCELLED_SHARE:
        # Sooner rather than later: most orders are over within a moment.
        yield number + SECOND_THOUGHTS * dice.random() ** 3, "cancel", wish
    if dice.random() < SENT_AGAIN_SHARE:
        yield number + SECOND_THOUGHTS * dice.random(), "again", wish
