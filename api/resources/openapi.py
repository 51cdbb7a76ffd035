"""The OpenAPI descriptions that all resources with a saga share: headers, waits, streams.

trip = Described("trip", "confirmed or dropped")
trip_view = extend_schema_view(get=extend_schema(**trip.read(), examples=[...]))
"""

from dataclasses import dataclass
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse

from api.openapi import BODY_IS_OPTIONAL, answer_header, problems
from api.problems.problem_types import (
    ACTION_REJECTED,
    FORBIDDEN,
    PRECONDITION_FAILED,
    ProblemType,
)
from api.requests.reasons import CancelReason
from api.resources.problem_types import (
    KEY_IN_FLIGHT,
    KEY_REUSED,
    TOO_MANY_OF_USER,
    TOO_MANY_WAITING,
)
from api.responses.event_stream import MEDIA_TYPE as EVENT_STREAM

__all__ = ["Described", "answered", "sent"]

IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="The ETags that you have, or `*`. Compared after the wait, if any.",
)
LAST_EVENT_ID = OpenApiParameter(
    "Last-Event-ID",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="For a stream: the `id` of the last event that you have. Later events are sent.",
)
APPLIED = "`wait=N`, if the wait was applied."


def sent(name: str, value: object) -> OpenApiExample:
    """Return an example of a request."""
    return OpenApiExample(name, value, request_only=True)


def answered(name: str, value: object, *statuses: str) -> OpenApiExample:
    """Return an example of an answer with some statuses, or with any."""
    return OpenApiExample(name, value, response_only=True, status_codes=list(statuses) or None)


@dataclass(frozen=True)
class Described:
    """The words for a resource: its noun, and the state that `Prefer: wait` waits for.

    Each method returns arguments of `extend_schema`; a service adds the rest. `specific` are the
    problems of its own.
    """

    noun: str
    decided: str
    made: str = "made"

    @property
    def id(self) -> OpenApiParameter:
        """The id in a path."""
        return OpenApiParameter(
            "id",
            OpenApiTypes.UUID,
            OpenApiParameter.PATH,
            description=f"The id of the {self.noun}.",
        )

    @property
    def key(self) -> OpenApiParameter:
        """The header `Idempotency-Key`."""
        return OpenApiParameter(
            "Idempotency-Key",
            OpenApiTypes.STR,
            OpenApiParameter.HEADER,
            required=True,
            pattern=r"^[\x21-\x7e]{1,255}$",
            description="A key that you generate: 1 to 255 visible ASCII characters, kept for at "
            f"least 24 hours. The same key with the same {self.noun} gets the same answer, with "
            "`Idempotency-Replayed: true`.",
            examples=[OpenApiExample("A UUID", "5f0c1c4e-6d2b-4f0e-9a55-3f1f3c6f1a10")],
        )

    @property
    def prefer(self) -> OpenApiParameter:
        """The header `Prefer`."""
        return OpenApiParameter(
            "Prefer",
            OpenApiTypes.STR,
            OpenApiParameter.HEADER,
            description=f"`wait=N` (RFC 7240): answer once the {self.noun} is {self.decided}, or "
            "after N seconds. N is 0 to 30; more counts as 30. Ignored if too many requests are "
            "waiting.",
            examples=[OpenApiExample("Ten seconds", "wait=10")],
        )

    @property
    def etag(self) -> str:
        """The description of the header `ETag`."""
        return f"Changes whenever the {self.noun} does."

    def make(self, *specific: ProblemType) -> dict[str, Any]:
        """Describe the headers and problems of `create_once`."""
        return {
            "parameters": [
                self.key,
                self.prefer,
                answer_header("Location", 201, description=f"The path of the {self.noun}."),
                answer_header("ETag", 201, description=self.etag),
                answer_header("Preference-Applied", 201, required=False, description=APPLIED),
                answer_header(
                    "Idempotency-Replayed",
                    201,
                    required=False,
                    description=f"`true` if the key was used before: no new {self.noun} was "
                    f"{self.made}.",
                ),
            ],
            "filters": False,
            "extensions": problems(FORBIDDEN, KEY_IN_FLIGHT, KEY_REUSED, *specific),
        }

    def read(self, serializer: Any) -> dict[str, Any]:
        """Describe the headers, answers and problems of a `SagaView`."""
        return {
            "parameters": [
                self.id,
                self.prefer,
                IF_NONE_MATCH,
                answer_header("ETag", 200, 304, description=self.etag),
                answer_header("Preference-Applied", 200, 304, required=False, description=APPLIED),
            ],
            "responses": {
                200: serializer,
                304: OpenApiResponse(description=f"The {self.noun} matches `If-None-Match`."),
            },
            "extensions": problems(PRECONDITION_FAILED),
        }

    def timeline(self, serializer: Any) -> dict[str, Any]:
        """Describe the headers, answers and problems of a `SagaTimelineView`."""
        return {
            "parameters": [self.id, LAST_EVENT_ID],
            "responses": {
                (200, "application/json"): serializer(many=True),
                (200, EVENT_STREAM): OpenApiTypes.STR,
                204: OpenApiResponse(
                    description=f"The {self.noun} has ended, and `Last-Event-ID` is its last event."
                ),
            },
            "extensions": problems(TOO_MANY_OF_USER, TOO_MANY_WAITING),
        }

    def cancel(self, serializer: Any, *specific: ProblemType) -> dict[str, Any]:
        """Describe the headers, answers and problems of a `SagaCancelView`."""
        path = f"The path of the {self.noun}."
        return {
            "parameters": [
                self.id,
                answer_header("Content-Location", 200, 202, description=path),
                answer_header("ETag", 200, 202, description=self.etag),
            ],
            "request": {"application/json": CancelReason},
            "responses": {200: serializer, 202: serializer},
            "extensions": BODY_IS_OPTIONAL | problems(FORBIDDEN, ACTION_REJECTED, *specific),
        }
