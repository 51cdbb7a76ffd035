"""The demo's data: products, kinds of orders, and how each kind must end."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = [
    "CANCELLED_BY_CUSTOMER",
    "FREE",
    "KINDS",
    "PRODUCTS",
    "OrderKind",
    "OrderRequest",
    "Outcome",
    "Product",
    "order_requests",
    "shuffled",
]

# An order's final status and its failure code, which is empty for a fulfilled order.
Outcome = tuple[str, str]

FULFILLED: Outcome = ("fulfilled", "")
DECLINED: Outcome = ("cancelled", "payment_declined")
OUT_OF_STOCK: Outcome = ("cancelled", "out_of_stock")
CANCELLED: Outcome = ("cancelled", "cancelled_by_customer")


@dataclass(frozen=True, kw_only=True)
class Product:
    """A product. `unit_amount` is in cents, `stock` in pieces."""

    sku: str
    name: str
    unit_amount: int
    stock: int


@dataclass(frozen=True, kw_only=True)
class OrderKind:
    """One kind of order: its content, its payment methods, and the expected outcomes."""

    title: str
    skus: tuple[str, ...]
    payment_methods: tuple[str, ...] = ("pm_card_visa",)
    expected: Counter[Outcome] = field(hash=False)

    @property
    def orders(self) -> int:
        """The number of orders of this kind."""
        return self.expected.total()


PRODUCTS = (
    Product(sku="MUG", name="Mug", unit_amount=1250, stock=400),
    Product(sku="SHIRT", name="Shirt", unit_amount=2900, stock=400),
    Product(sku="POSTER", name="Poster, sold out", unit_amount=1800, stock=0),
    Product(sku="LAMP", name="Lamp, the last seven", unit_amount=8900, stock=7),
    Product(sku="STICKER", name="Sticker, free", unit_amount=0, stock=400),
)

CANCELLED_BY_CUSTOMER = OrderKind(
    title="cancelled by its customer", skus=("SHIRT",), expected=Counter({CANCELLED: 1})
)
# It needs no payment method, because its plan has no step of payments.
FREE = OrderKind(
    title="free product",
    skus=("STICKER",),
    payment_methods=("",),
    expected=Counter({FULFILLED: 1}),
)

KINDS = (
    OrderKind(title="paid by card", skus=("MUG", "SHIRT"), expected=Counter({FULFILLED: 140})),
    OrderKind(
        title="card declined",
        skus=("MUG",),
        payment_methods=("pm_card_chargeDeclined", "pm_card_chargeDeclinedInsufficientFunds"),
        expected=Counter({DECLINED: 20}),
    ),
    OrderKind(title="product sold out", skus=("POSTER",), expected=Counter({OUT_OF_STOCK: 13})),
    OrderKind(
        title="24 buyers, 7 pieces",
        skus=("LAMP",),
        expected=Counter({FULFILLED: 7, OUT_OF_STOCK: 17}),
    ),
    OrderKind(
        title="charged, then timed out",
        skus=("MUG",),
        payment_methods=("pm_sim_timeout_charged",),
        expected=Counter({FULFILLED: 1}),
    ),
    FREE,
    CANCELLED_BY_CUSTOMER,
)


@dataclass(frozen=True, kw_only=True)
class OrderRequest:
    """An order to place. `payment_method` is empty for a free one."""

    kind: OrderKind
    skus: tuple[str, ...]
    quantity: int
    payment_method: str


def order_requests(kind: OrderKind) -> Iterator[OrderRequest]:
    """Yield the orders of a kind. SKUs, quantities and payment methods rotate."""
    for number in range(kind.orders):
        yield OrderRequest(
            kind=kind,
            skus=kind.skus[: 1 + number % len(kind.skus)],
            quantity=1 + number % 2 if kind.expected.keys() == {FULFILLED} else 1,
            payment_method=kind.payment_methods[number % len(kind.payment_methods)],
        )


def shuffled(kinds: tuple[OrderKind, ...], *, seed: int = 7) -> list[OrderRequest]:
    """Return the orders of all kinds in a random but repeatable order."""
    mixed = [request for kind in kinds for request in order_requests(kind)]
    random.Random(seed).shuffle(mixed)
    return mixed
