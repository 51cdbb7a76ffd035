"""The catalogue: changes by staff, and the prices of orders."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from django.db import IntegrityError, transaction
from msgspec import Meta, Struct

from api.problems.exceptions import FieldError, InvalidInput
from orders.events import LineOrdered
from orders.models import MAX_AMOUNT, MAX_QUANTITY, SKU_LENGTH, Product
from orders.price_check import is_currency, reason_not_chargeable, reason_not_sellable

__all__ = [
    "LineWanted",
    "NotChargeable",
    "Price",
    "Priced",
    "SkuTaken",
    "add_product",
    "change_product",
    "offers_price",
    "price",
]


class LineWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a new order: a SKU and the number of pieces."""

    sku: Annotated[str, Meta(min_length=1, max_length=SKU_LENGTH)]
    quantity: Annotated[int, Meta(ge=1, le=MAX_QUANTITY)]


class Price(NamedTuple):
    """The current price of one piece, in minor units of the currency."""

    unit_amount: int
    currency: str


class Priced(Struct, frozen=True):
    """Lines with prices, and their total in minor units of the currency."""

    lines: tuple[LineOrdered, ...]
    amount: int
    currency: str


class SkuTaken(Exception):
    """A product with this SKU already exists."""


class NotChargeable(Exception):
    """The payment gateway cannot charge a price or an amount. The text says why."""


def add_product(fields: Mapping[str, Any]) -> Product:
    """Add a product to the catalogue.

    Raises `SkuTaken`, `NotChargeable`, or `InvalidInput` for an unknown currency.
    """
    _require_sellable(fields["unit_amount"], fields["currency"])
    try:
        with transaction.atomic():
            return Product.objects.create(**fields)
    except IntegrityError as error:
        raise SkuTaken from error


def change_product(sku: str, changes: Mapping[str, Any]) -> bool:
    """Change a product for future orders; tell whether the product exists.

    Raises `NotChargeable`, or `InvalidInput` for an unknown currency, and changes nothing then.
    """
    products = Product.objects.filter(sku=sku)
    if not changes:
        return products.exists()

    with transaction.atomic():
        changed = bool(products.update(**changes))
        if changed and offers_price(changes):
            product = products.get()
            _require_sellable(product.unit_amount, product.currency)
    return changed


def offers_price(changes: Mapping[str, Any]) -> bool:
    """Tell whether changes offer a product at another price, or again.

    Other changes do not depend on the price: a product that cannot be charged can be withdrawn.
    """
    return "unit_amount" in changes or "currency" in changes or bool(changes.get("active"))


def price(lines: Sequence[LineWanted], products: Mapping[str, Price]) -> Priced:
    """Price the lines of an order.

    Raises `InvalidInput` if they cannot be ordered together, and `NotChargeable`.
    """
    if errors := list(_errors(lines, products)):
        raise InvalidInput(*errors)

    priced = tuple(
        LineOrdered(line.sku, line.quantity, products[line.sku].unit_amount) for line in lines
    )
    amount = sum(line.quantity * line.unit_amount for line in priced)
    if amount > MAX_AMOUNT:
        detail = f"The amount of the order is larger than {MAX_AMOUNT}."
        raise InvalidInput(FieldError("lines", "amount_too_large", detail))

    currency = products[lines[0].sku].currency
    if reason := reason_not_chargeable(amount, currency):
        raise NotChargeable(f"{reason} The order has the amount {_shown(amount, currency)}.")
    return Priced(priced, amount, currency)


def _require_sellable(unit_amount: int, currency: str) -> None:
    if not is_currency(currency):
        detail = "This is not the lower-case code of a currency of ISO 4217."
        raise InvalidInput(FieldError("currency", "unknown_currency", detail))
    if reason := reason_not_sellable(unit_amount, currency):
        raise NotChargeable(f"{reason} The price is {_shown(unit_amount, currency)}.")


def _shown(amount: int, currency: str) -> str:
    return f"{amount} in minor units of {currency.upper()}"


def _errors(lines: Sequence[LineWanted], products: Mapping[str, Price]) -> Iterator[FieldError]:
    currency = next((products[line.sku].currency for line in lines if line.sku in products), "")
    seen: set[str] = set()
    for index, line in enumerate(lines):
        field = f"lines[{index}].sku"
        if line.sku in seen:
            yield FieldError(field, "duplicate", "Each product may be on only one line.")
        elif line.sku not in products:
            yield FieldError(
                field, "unknown_product", "This product does not exist or is not for sale."
            )
        elif products[line.sku].currency != currency:
            yield FieldError(
                field, "mixed_currencies", "All products of an order must have the same currency."
            )
        seen.add(line.sku)
