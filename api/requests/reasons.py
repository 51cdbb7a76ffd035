"""The reason of a write by staff, in the body of a request."""

from typing import Annotated

from msgspec import Meta, Struct
from rest_framework.request import Request

from api.requests.parsing import in_words, parse

__all__ = ["CancelReason", "Reason", "reason_of"]

# One character that is no white space, neither for Python nor for ECMA 262, which schemas use.
NOT_BLANK = in_words(
    r"[^\s\x1c-\x1f\x85\ufeff]", "Give a text that is more than spaces and line breaks."
)
Reason = Annotated[str, Meta(min_length=1, max_length=500, pattern=NOT_BLANK)]


class CancelReason(Struct, frozen=True, forbid_unknown_fields=True):
    """The reason why staff cancel the order of a customer. The customer does not see it."""

    reason: Reason


def reason_of(request: Request) -> str | None:
    """Return the reason in a request, or None without a JSON body. Raises `InvalidInput`.

    Other bodies are ignored, because customers who cancel their own may send any.
    """
    is_json = request.content_type.partition(";")[0].strip().lower() == "application/json"
    return parse(request, CancelReason).reason if is_json and request.stream else None
