"""Every kind of problem that the API answers with: the one source of their `type`s, of
docs/errors.md and of /errors/.

A `type` is a reference without a host, like `/errors/order-fulfilled`: it resolves wherever the
service is reached, and is the same string for every client, so that it can be compared (RFC 9457,
section 3.1.1, asks for the full path in such a reference). A kind that others rely on is never
renamed.
"""

from collections.abc import Sequence

from django.utils.text import slugify
from msgspec import Struct

__all__ = [
    "BAD_REQUEST",
    "BODY_TOO_LARGE",
    "FORBIDDEN",
    "INTERNAL_ERROR",
    "INVALID_INPUT",
    "LENGTH_REQUIRED",
    "METHOD_NOT_ALLOWED",
    "NOT_ACCEPTABLE",
    "NOT_AUTHENTICATED",
    "NOT_FOUND",
    "PRECONDITION_FAILED",
    "TOO_MANY_FAILED_LOGINS",
    "TOO_MANY_REQUESTS",
    "UNAVAILABLE",
    "UNSUPPORTED_MEDIA_TYPE",
    "WRONG_CREDENTIALS",
    "ProblemType",
    "all_problem_types",
    "get_problem_type",
    "problem_type_for_status",
]

_registry: dict[str, "ProblemType"] = {}


class ProblemType(Struct, frozen=True, kw_only=True):
    """A kind of problem: what it means (its detail where nothing more is known), and what the
    client should do.

    To make one is to register it. `headers` are those that its answers always have; `api.openapi`
    describes each. Raises ValueError for a slug that is taken, or is none.
    """

    slug: str
    status: int
    title: str
    meaning: str
    remedy: str
    headers: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.slug in _registry or self.slug != slugify(self.slug):
            raise ValueError(
                f"{self.slug!r} is taken, or is no slug: name the kind of problem otherwise."
            )
        _registry[self.slug] = self

    @property
    def type(self) -> str:
        """The `type` of its problems."""
        return f"/errors/{self.slug}"


def all_problem_types() -> list[ProblemType]:
    """Return all kinds by status and slug: those of this module and of whatever was imported."""
    return sorted(_registry.values(), key=lambda kind: (kind.status, kind.slug))


def get_problem_type(slug: str) -> ProblemType | None:
    """Return the kind of a slug."""
    return _registry.get(slug)


def problem_type_for_status(status: int) -> ProblemType:
    """Return the kind of what Django or REST framework answers with a status alone. Raises
    KeyError for any other.
    """
    return _GENERAL[status]


BAD_REQUEST = ProblemType(
    slug="bad-request",
    status=400,
    title="Bad request",
    meaning="The request cannot be understood, or is not meant for this host.",
    remedy="Look at the host name, and at how the request is put together.",
)
INVALID_INPUT = ProblemType(
    slug="invalid-input",
    status=400,
    title="Invalid input",
    meaning="What was sent cannot be used. `errors` says field by field why.",
    remedy="Correct the fields that `errors` names, and send it again. Nothing was changed.",
)
NOT_AUTHENTICATED = ProblemType(
    slug="not-authenticated",
    status=401,
    title="Not authenticated",
    meaning="There is no token with the request, or it is not valid any more.",
    remedy="Get a token with `POST /api/v1/auth/token/`, and send it as `Authorization: Bearer …`.",
    headers=("WWW-Authenticate",),
)
WRONG_CREDENTIALS = ProblemType(
    slug="wrong-credentials",
    status=401,
    title="Wrong credentials",
    meaning="No active user has this name and password.",
    remedy="Ask for name and password once more. Which of the two is wrong is not told.",
    headers=("WWW-Authenticate",),
)
FORBIDDEN = ProblemType(
    slug="forbidden",
    status=403,
    title="Forbidden",
    meaning="The user of this token may not do this.",
    remedy="Use the token of a user who may. The same request will be refused again.",
)
NOT_FOUND = ProblemType(
    slug="not-found",
    status=404,
    title="Not found",
    meaning="There is no such thing here, or none that this user may see.",
    remedy="Look at the path: all paths end with a slash. The orders of others are not found either.",
)
METHOD_NOT_ALLOWED = ProblemType(
    slug="method-not-allowed",
    status=405,
    title="Method not allowed",
    meaning="There is something at this path, but not with this method.",
    remedy="Use one of the methods that the header `Allow` names.",
    headers=("Allow",),
)
NOT_ACCEPTABLE = ProblemType(
    slug="not-acceptable",
    status=406,
    title="Not acceptable",
    meaning="The answer cannot be had in the media type that `Accept` asks for.",
    remedy="Accept `application/json`, or leave the header out.",
)
LENGTH_REQUIRED = ProblemType(
    slug="length-required",
    status=411,
    title="Length required",
    meaning="The body came in chunks, without a Content-Length.",
    remedy="Send the body whole, with a `Content-Length`.",
)
PRECONDITION_FAILED = ProblemType(
    slug="precondition-failed",
    status=412,
    title="Precondition failed",
    meaning="What is here is not, or no longer, what `If-Match` names.",
    remedy="Read it again, and decide anew.",
)
BODY_TOO_LARGE = ProblemType(
    slug="body-too-large",
    status=413,
    title="Body too large",
    meaning="The body is larger than the API reads.",
    remedy="Send less at once.",
)
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    slug="unsupported-media-type",
    status=415,
    title="Unsupported media type",
    meaning="The body is in a media type that is not read here.",
    remedy="Send JSON, with `Content-Type: application/json`.",
)
TOO_MANY_REQUESTS = ProblemType(
    slug="too-many-requests",
    status=429,
    title="Too many requests",
    meaning="More requests have come than are taken in a minute.",
    remedy="Wait for the seconds that `Retry-After` names, then send it again.",
    headers=("Retry-After",),
)
TOO_MANY_FAILED_LOGINS = ProblemType(
    slug="too-many-failed-logins",
    status=429,
    title="Too many failed logins",
    meaning="Too many logins with this name have failed from this address.",
    remedy="Wait for the seconds that `Retry-After` names before the next try.",
    headers=("Retry-After",),
)
INTERNAL_ERROR = ProblemType(
    slug="internal-error",
    status=500,
    title="Internal error",
    meaning="Something went wrong here. It was logged.",
    remedy="Send the same request once more, an order under the same `Idempotency-Key`. If it stays so, tell us.",
)
UNAVAILABLE = ProblemType(
    slug="unavailable",
    status=503,
    title="Unavailable",
    meaning="A database is not reachable. Nothing is half done: the same request may be sent again.",
    remedy="Wait for the seconds that `Retry-After` names, then send the same request again.",
    headers=("Retry-After",),
)

_GENERAL = {
    kind.status: kind
    for kind in (
        BAD_REQUEST,
        NOT_AUTHENTICATED,
        FORBIDDEN,
        NOT_FOUND,
        METHOD_NOT_ALLOWED,
        NOT_ACCEPTABLE,
        UNSUPPORTED_MEDIA_TYPE,
        TOO_MANY_REQUESTS,
        INTERNAL_ERROR,
    )
}
