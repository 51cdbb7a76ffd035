"""What the demo sells, who buys, and how each kind of order must end. All of it is data."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = [
    "CANCELLED_BY_CUSTOMER",
    "KINDS",
    "PRODUCTS",
    "Kind",
    "Outcome",
    "Product",
    "Wish",
    "shuffled",
    "wishes",
]

# How an order ended: its status, and the code of its failure, empty where it was fulfilled.
Outcome = tuple[str, str]

FULFILLED: Outcome = ("fulfilled", "")
DECLINED: Outcome = ("cancelled", "payment_declined")
OUT_OF_STOCK: Outcome = ("cancelled", "out_of_stock")
CANCELLED: Outcome = ("cancelled", "cancelled_by_customer")


@dataclass(frozen=True, kw_only=True)
class Product:
    """Something for sale: the price in cents, and how many there are."""

    sku: str
    name: str
    unit_amount: int
    stock: int


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Orders of one kind: what they are for, how they are paid, and how many must end in which
    way.
    """

    title: str
    skus: tuple[str, ...]
    payment_methods: tuple[str, ...] = ("pm_card_visa",)
    expected: Counter[Outcome] = field(hash=False)

    @property
    def orders(self) -> int:
        """How many there are."""
        return self.expected.total()


PRODUCTS = (
    Product(sku="MUG", name="Mug", unit_amount=1250, stock=400),
    Product(sku="SHIRT", name="Shirt", unit_amount=2900, stock=400),
    Product(sku="POSTER", name="Poster, sold out", unit_amount=1800, stock=0),
    Product(sku="LAMP", name="Lamp, the last seven", unit_amount=8900, stock=7),
)

CANCELLED_BY_CUSTOMER = Kind(
    title="cancelled by its customer", skus=("SHIRT",), expected=Counter({CANCELLED: 1})
)

KINDS = (
    Kind(title="paid by card", skus=("MUG", "SHIRT"), expected=Counter({FULFILLED: 141})),
    Kind(
        title="card declined",
        skus=("MUG",),
        payment_methods=("pm_card_chargeDeclined", "pm_card_chargeDeclinedInsufficientFunds"),
        expected=Counter({DECLINED: 20}),
    ),
    Kind(title="product sold out", skus=("POSTER",), expected=Counter({OUT_OF_STOCK: 13})),
    Kind(
        title="24 buyers, 7 pieces",
        skus=("LAMP",),
        expected=Counter({FULFILLED: 7, OUT_OF_STOCK: 17}),
    ),
    Kind(
        title="charged, then timed out",
        skus=("MUG",),
        payment_methods=("pm_sim_timeout_charged",),
        expected=Counter({FULFILLED: 1}),
    ),
    CANCELLED_BY_CUSTOMER,
)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """An order that is yet to be placed."""

    kind: Kind
    skus: tuple[str, ...]
    quantity: int
    payment_method: str


def wishes(kind: Kind) -> Iterator[Wish]:
    """Yield the orders of a kind, which take turns in what they order and how they pay."""
    for number in range(kind.orders):
        yield Wish(
            kind=kind,
            skus=kind.skus[: 1 + number % len(kind.skus)],
            quantity=1 + number % 2 if kind.expected.keys() == {FULFILLED} else 1,
            payment_method=kind.payment_methods[number % len(kind.payment_methods)],
        )


def shuffled(kinds: tuple[Kind, ...], *, seed: int = 7) -> list[Wish]:
    """Return the orders of all kinds, mixed, in the same way each time."""
    mixed = [wish for kind in kinds for wish in wishes(kind)]
    random.Random(seed).shuffle(mixed)
    return mixed
