"""The catalogue: changes by staff, and the prices of orders."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from django.db import IntegrityError, transaction
from msgspec import UNSET, Meta, Struct, UnsetType

from api.problems.exceptions import FieldError, InvalidInput
from orders.events import LineOrdered
from orders.free_products import NOT_ALLOWED, least_amount
from orders.models import MAX_AMOUNT, MAX_QUANTITY, SKU_LENGTH, Product
from orders.price_check import is_currency, reason_not_chargeable, reason_not_sellable

__all__ = [
    "NO_REASON",
    "PRICE",
    "LineWanted",
    "NotChargeable",
    "Price",
    "Priced",
    "SkuTaken",
    "add_product",
    "change_product",
    "describe_changes",
    "describe_product",
    "offers_price",
    "price",
    "require_amount",
]


# The fields of a price, and the answer to a new price without a reason.
PRICE = ("unit_amount", "currency")
NO_REASON = "Give the reason for the new price: the log of staff keeps it."


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


def change_product(sku: str, changes: Mapping[str, Any], *, reason: str = "") -> str:
    """Change a product for future orders, and return what changed, in words for the log.

    Raises `Product.DoesNotExist`, `NotChargeable`, or `InvalidInput` for an unknown currency or a
    new price without a reason, and changes nothing then.
    """
    with transaction.atomic():
        product = Product.objects.select_for_update().get(sku=sku)
        if not reason and any(
            name in changes and changes[name] != getattr(product, name) for name in PRICE
        ):
            raise InvalidInput(FieldError("reason", "required_for_price", NO_REASON))
        described = describe_changes(product, changes)
        if offers_price(changes):
            _require_sellable(
                changes.get("unit_amount", product.unit_amount),
                changes.get("currency", product.currency),
            )
        if changes:
            Product.objects.filter(sku=sku).update(**changes)
    return described


def describe_product(product: Product) -> str:
    """Return the fields of a new product, in words for the log."""
    return (
        f"name {product.name!r}, unit_amount {product.unit_amount}, currency {product.currency!r},"
        f" active {product.active}."
    )


def describe_changes(product: Product, changes: Mapping[str, Any]) -> str:
    """Return what changes would change in a product, with the old and the new values."""
    different = [
        f"{name} {getattr(product, name)!r} → {value!r}"
        for name, value in changes.items()
        if getattr(product, name) != value
    ]
    return f"{', '.join(different)}." if different else "Nothing changed."


def offers_price(changes: Mapping[str, Any]) -> bool:
    """Tell whether changes offer a product at another price, or again.

    Other changes do not depend on the price: a product that cannot be charged can be withdrawn.
    """
    return "unit_amount" in changes or "currency" in changes or bool(changes.get("active"))


def require_amount(field: str, amount: int | UnsetType) -> None:
    """Raise `InvalidInput` for an amount below 0, or of 0 unless products may be free."""
    least = least_amount()
    if amount is not UNSET and amount < least:
        raise InvalidInput(FieldError(field, "invalid", f"Expected int >= {least}."))


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
    if any(line.unit_amount < least_amount() for line in priced):
        raise NotChargeable(NOT_ALLOWED)
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
