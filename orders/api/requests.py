"""The inputs of the API as structs, which check types and bounds and reject unknown fields."""

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType
from rest_framework.request import Request

from api.problems.exceptions import FieldError, InvalidInput
from api.requests.parsing import parse
from orders.models import CURRENCY_PATTERN, MAX_AMOUNT, SKU_LENGTH, SKU_PATTERN
from orders.services import NewOrder

__all__ = ["NewProduct", "ProductChanges", "idempotency_key", "new_order"]

HEADER = "Idempotency-Key"
# Two headers arrive as one value with a comma, which is one key like any other.
VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,255}")

# ISO/IEC 7812: a card number has at most 19 digits; the shortest in use has 13. People write them
# in groups.
CARD_LENGTHS = range(13, 20)
GROUPS = re.compile(r"[0-9]+(?:[ ._-]+[0-9]+)*")

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Amount = Annotated[int, Meta(ge=1, le=MAX_AMOUNT, description="Minor units of the currency.")]
Currency = Annotated[str, Meta(pattern=CURRENCY_PATTERN, description="ISO 4217, lower-case.")]


class NewProduct(Struct, frozen=True, forbid_unknown_fields=True):
    """A product to be added to the catalogue."""

    sku: Annotated[str, Meta(max_length=SKU_LENGTH, pattern=SKU_PATTERN)]
    name: Name
    unit_amount: Amount
    currency: Currency
    active: bool = True


class ProductChanges(Struct, frozen=True, forbid_unknown_fields=True):
    """The changes to a product. Placed orders keep their price."""

    name: Name | UnsetType = UNSET
    unit_amount: Amount | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    active: bool | UnsetType = UNSET


def idempotency_key(request: Request) -> str:
    """Return the idempotency key of a request. Raises `InvalidInput` without a valid one."""
    key = request.headers.get(HEADER)
    if key is None:
        detail = "Send a key that you generate for each new order."
        raise InvalidInput(FieldError(HEADER, "required", detail))
    if not VISIBLE_ASCII.fullmatch(key):
        raise InvalidInput(FieldError(HEADER, "invalid", "Use 1 to 255 visible ASCII characters."))
    return key


def new_order(request: Request) -> NewOrder:
    """Return the order in a request. Raises `InvalidInput`, also for a possible card number.

    A card number is rejected before any write, and is not repeated in the response.
    """
    new = parse(request, NewOrder)
    if any(_is_card_number(digits) for digits in _numbers(new.payment_method)):
        detail = "Send the gateway's name of the payment method, never a card number."
        raise InvalidInput(FieldError("payment_method", "card_number", detail))
    return new


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
