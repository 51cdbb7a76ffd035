"""What clients may send, as structs: nothing unknown, nothing of another type, nothing out of bounds."""

import re
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType
from rest_framework.request import Request

from api.problems import FieldError, InvalidInput
from orders.models import CURRENCY_PATTERN, MAX_AMOUNT, SKU_LENGTH, SKU_PATTERN

__all__ = ["NewProduct", "ProductChanges", "idempotency_key"]

HEADER = "Idempotency-Key"
VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,255}")

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
    """What may change of a product. Orders that were placed keep their price."""

    name: Name | UnsetType = UNSET
    unit_amount: Amount | UnsetType = UNSET
    currency: Currency | UnsetType = UNSET
    active: bool | UnsetType = UNSET


def idempotency_key(request: Request) -> str:
    """Return the key under which a request is sent. Raises `InvalidInput` without a usable one."""
    key = request.headers.get(HEADER)
    if key is None:
        raise InvalidInput(FieldError(HEADER, "required", "Send one of your own making with each new order."))
    if not VISIBLE_ASCII.fullmatch(key):
        raise InvalidInput(FieldError(HEADER, "invalid", "1 to 255 visible ASCII characters."))
    return key
