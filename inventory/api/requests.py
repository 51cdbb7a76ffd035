"""The inputs of the API as structs, which check types and bounds and reject unknown fields."""

from typing import Annotated

from msgspec import Meta, Struct
from rest_framework.request import Request

from api.problems.exceptions import FieldError, InvalidInput
from api.requests.parsing import parse
from inventory.services import MAX_ADJUSTMENT

__all__ = ["NewAdjustment", "adjustment_of"]


KEY = "Idempotency-Key"
NOT_0 = {"not": {"const": 0}}


class NewAdjustment(Struct, frozen=True, forbid_unknown_fields=True):
    """Pieces to add, or to take out if `quantity` is negative, and the reason."""

    quantity: Annotated[int, Meta(ge=-MAX_ADJUSTMENT, le=MAX_ADJUSTMENT, extra_json_schema=NOT_0)]
    reason: Annotated[
        str, Meta(min_length=1, max_length=200, description="The reason, for later readers.")
    ]


def adjustment_of(request: Request) -> NewAdjustment:
    """Return the adjustment in a request. Raises `InvalidInput`.

    A key for repetitions is refused: a client that trusts in it would adjust the stock twice.
    """
    if KEY in request.headers:
        detail = "Stock adjustments take no key: each request counts. Leave the header out."
        raise InvalidInput(FieldError(KEY, "not_supported", detail))
    new = parse(request, NewAdjustment)
    if not new.quantity:
        raise InvalidInput(FieldError("quantity", "invalid", "The quantity must not be 0."))
    return new
