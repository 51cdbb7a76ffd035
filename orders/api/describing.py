"""What the OpenAPI schema says of orders beyond their fields: headers, answers without a body, and the stream."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework.serializers import BaseSerializer

from api.event_stream import MEDIA_TYPE

__all__ = ["CANCELLING", "PLACING", "READING", "STREAMING", "list_or_stream", "one_or_unchanged"]


def _sent(name: str, description: str, *, required: bool = False) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.STR, OpenApiParameter.HEADER, required=required, description=description)


def _answered(name: str, description: str, *statuses: int) -> OpenApiParameter:
    return OpenApiParameter(
        name,
        OpenApiTypes.STR,
        OpenApiParameter.HEADER,
        description=description,
        response=[str(status) for status in statuses],
    )


KEY = _sent(
    "Idempotency-Key",
    "1 to 255 visible ASCII characters of your own making, kept for 24 hours at least. The same key and "
    "the same order again get the same answer, with `Idempotency-Replayed: true`.",
    required=True,
)
PREFER = _sent(
    "Prefer",
    "`wait=N` (RFC 7240): answer once the order is fulfilled or cancelled, or after N seconds as it stands. N is 0 to "
    "30; more is taken as 30. Not applied where too many wait already.",
)
APPLIED = "`wait=N`, where the wait was granted."
ETAG = "Changes with every byte of the order."


def one_or_unchanged(serializer: type[BaseSerializer[Any]]) -> dict[int, Any]:
    """Return the answers to a conditional GET."""
    return {200: serializer, 304: OpenApiResponse(description="It is what `If-None-Match` names.")}


def list_or_stream(serializer: type[BaseSerializer[Any]]) -> dict[Any, Any]:
    """Return the answers where a list can be had as a stream as well."""
    return {
        (200, "application/json"): serializer(many=True),
        (200, MEDIA_TYPE): OpenApiTypes.STR,
        204: OpenApiResponse(description="The order has ended, and `Last-Event-ID` is its last event."),
        503: OpenApiResponse(description="Too many wait already, or a database is away: see `Retry-After`."),
    }


PLACING = [
    KEY,
    PREFER,
    _answered("Location", "Where the order is.", 201),
    _answered("ETag", ETAG, 201),
    _answered("Idempotency-Replayed", "`true`, where the key was used before.", 201),
    _answered("Preference-Applied", APPLIED, 201),
]
READING = [
    PREFER,
    _sent("If-None-Match", "ETags that you have, or `*`. Compared after the wait, if you prefer one."),
    _answered("ETag", ETAG, 200, 304),
    _answered("Preference-Applied", APPLIED, 200, 304),
]
CANCELLING = [
    _answered("Content-Location", "Where the order is.", 200, 202),
    _answered("ETag", ETAG, 200, 202),
]
STREAMING = [
    _sent("Last-Event-ID", "In a stream: the `id` of the last event that you have. Only what came after it is sent."),
]
