"""The inputs of the API that the services of returns do not describe themselves."""

from typing import Annotated

from msgspec import Meta, Struct

from api.requests.reasons import Reason

__all__ = ["MOST_AMOUNT", "NewGoodwill"]

# The largest integer that every JSON reader keeps exactly: RFC 8259, section 6.
MOST_AMOUNT = 2**53 - 1


class NewGoodwill(Struct, frozen=True, forbid_unknown_fields=True):
    """Money to be given back without goods, in minor units of the order's currency."""

    amount: Annotated[int, Meta(ge=1, le=MOST_AMOUNT, description="Minor units.")]
    reason: Reason
