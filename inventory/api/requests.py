"""What staff may send, as structs: nothing unknown, nothing of another type, nothing out of
bounds.
"""

from typing import Annotated

from msgspec import Meta, Struct
from rest_framework.request import Request

from api.problems.exceptions import FieldError, InvalidInput
from api.requests.parsing import parse
from inventory.services import MAX_ADJUSTMENT

__all__ = ["NewAdjustment", "adjustment_of"]


NOT_0 = {"not": {"const": 0}}


class NewAdjustment(Struct, frozen=True, forbid_unknown_fields=True):
    """Pieces to add, or to take out where `quantity` is negative, and why."""

    quantity: Annotated[int, Meta(ge=-MAX_ADJUSTMENT, le=MAX_ADJUSTMENT, extra_json_schema=NOT_0)]
    reason: Annotated[
        str, Meta(min_length=1, max_length=200, description="Why, for those who look for it later.")
    ]


def adjustment_of(request: Request) -> NewAdjustment:
    """Return the adjustment that a request asks for. Raises `InvalidInput`."""
    new = parse(request, NewAdjustment)
    if not new.quantity:
        raise InvalidInput(FieldError("quantity", "invalid", "Anything but 0."))
    return new
