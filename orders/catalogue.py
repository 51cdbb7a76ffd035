"""The catalogue: changes by staff, and the prices of orders."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from django.db import IntegrityError, transaction
from msgspec import Meta, Struct

from api.problems.exceptions import FieldError, InvalidInput
from orders.events import LineOrdered
from orders.models import MAX_AMOUNT, MAX_QUANTITY, SKU_LENGTH, Product

__all__ = ["LineWanted", "Price", "Priced", "SkuTaken", "add_product", "change_product", "price"]


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


def add_product(fields: Mapping[str, Any]) -> Product:
    """Add a product to the catalogue. Raises `SkuTaken`."""
    try:
        with transaction.atomic():
            return Product.objects.create(**fields)
    except IntegrityError as error:
        raise SkuTaken from error


def change_product(sku: str, changes: Mapping[str, Any]) -> bool:
    """Change a product for future orders; tell whether the product exists."""
    products = Product.objects.filter(sku=sku)
    return bool(products.update(**changes)) if changes else products.exists()


def price(lines: Sequence[LineWanted], products: Mapping[str, Price]) -> Priced:
    """Price the lines of an order. Raises `InvalidInput` if they cannot be ordered together."""
    if errors := list(_errors(lines, products)):
        raise InvalidInput(*errors)

    priced = tuple(
        LineOrdered(line.sku, line.quantity, products[line.sku].unit_amount) for line in lines
    )
    amount = sum(line.quantity * line.unit_amount for line in priced)
    if amount > MAX_AMOUNT:
        detail = f"The amount of the order is larger than {MAX_AMOUNT}."
        raise InvalidInput(FieldError("lines", "amount_too_large", detail))
    return Priced(priced, amount, products[lines[0].sku].currency)


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
