"""The inputs of the API as structs, which check types and bounds and reject unknown fields."""

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType
from rest_framework.request import Request

from api.problems.exceptions import FieldError, InvalidInput
from api.requests.parsing import in_words, parse
from api.requests.reasons import Reason
from orders.catalogue import require_amount
from orders.models import CURRENCY_PATTERN, MAX_AMOUNT, SKU_LENGTH, SKU_PATTERN
from orders.services import NewOrder

__all__ = [
    "NewProduct",
    "ProductChanges",
    "new_order",
    "new_product",
    "product_changes",
]

# ISO/IEC 7812: a card number has at most 19 digits; the shortest in use has 13. People write them
# in groups.
CARD_LENGTHS = range(13, 20)
GROUPS = re.compile(r"[0-9]+(?:[ ._-]+[0-9]+)*")

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Amount = Annotated[
    int,
    Meta(
        le=MAX_AMOUNT,
        description="Minor units of the currency. 0 needs the setting `FREE_PRODUCTS`.",
        extra_json_schema={"minimum": 0},  # checked below, because the least depends on the setting
    ),
]
Currency = Annotated[
    str,
    Meta(
        pattern=in_words(
            CURRENCY_PATTERN, "Give the three lower-case letters of an ISO 4217 code, such as eur."
        ),
        description="ISO 4217, lower-case.",
    ),
]
Sku = Annotated[
    str,
    Meta(
        max_length=SKU_LENGTH,
        pattern=in_words(
            SKU_PATTERN,
            "Begin with a letter or a digit, and use letters, digits, dots, dashes, underscores.",
        ),
    ),
]


class NewProduct(Struct, frozen=True, forbid_unknown_fields=True):
    """A product to be added to the catalogue."""

    sku: Sku
    name: Name
    unit_amount: Amount
    currency: Currency
    active: bool = True


class ProductChanges(Struct, frozen=True, forbid_unknown_fields=True):
    """The changes to a product. Placed orders keep their price. A new price needs a `reason`."""

    name: Name | UnsetType = UNSET
    unit_amount: Amount | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    active: bool | UnsetType = UNSET
    reason: Reason | UnsetType = UNSET


def new_order(request: Request) -> NewOrder:
    """Return the order in a request. Raises `InvalidInput`, also for a possible card number.

    A card number is rejected before any write, and is not repeated in the response.
    """
    new = parse(request, NewOrder)
    if any(_is_card_number(digits) for digits in _numbers(new.payment_method or "")):
        detail = "Send the gateway's name of the payment method, never a card number."
        raise InvalidInput(FieldError("payment_method", "card_number", detail))
    return new


def new_product(request: Request) -> NewProduct:
    """Return the product in a request. Raises `InvalidInput`."""
    new = parse(request, NewProduct)
    require_amount("unit_amount", new.unit_amount)
    return new


def product_changes(request: Request) -> ProductChanges:
    """Return the changes in a request. Raises `InvalidInput`."""
    changes = parse(request, ProductChanges)
    require_amount("unit_amount", changes.unit_amount)
    return changes


def _numbers(text: str) -> Iterator[str]:
    """Yield the digits of all runs of groups, because an expiry date may follow a card number."""
    for found in GROUPS.finditer(text):
        groups = re.findall("[0-9]+", found.group())
        for start, end in combinations(range(len(groups) + 1), 2):
            yield "".join(groups[start:end])


def _is_card_number(digits: str) -> bool:
    """Tell whether digits pass the Luhn check of ISO/IEC 7812."""
    if len(digits) not in CARD_LENGTHS:
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0
