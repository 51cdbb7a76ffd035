"""Every type of problem that the API answers with: the source of docs/errors.md and /errors/.

A `type` is a reference without a host, like `/errors/order-fulfilled`. So it is the same string for
every client, and resolves at any address of the service. RFC 9457, section 3.1.1, asks for the full
path in such a reference. A type is never renamed, because clients compare it.
"""

from collections.abc import Sequence

from django.utils.text import slugify
from msgspec import Struct

__all__ = [
    "ACTION_REJECTED",
    "BAD_REQUEST",
    "BODY_TOO_LARGE",
    "CONDITION_NOT_SUPPORTED",
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
    """A type of problem: its meaning, and how the client should react.

    Creating an instance registers it. `meaning` is also the default detail of a problem. `headers`
    names the headers that every answer of this type has; `api.openapi` describes each. `members`
    are the names of its extension members (RFC 9457, section 3.2), each with an example. Raises
    ValueError if the slug is taken or malformed.
    """

    slug: str
    status: int
    title: str
    meaning: str
    remedy: str
    headers: Sequence[str] = ()
    members: Sequence[tuple[str, int | str]] = ()

    def __post_init__(self) -> None:
        if self.slug in _registry:
            raise ValueError(f"The slug {self.slug!r} is taken: choose another for this problem.")
        if self.slug != slugify(self.slug):
            raise ValueError(f"{self.slug!r} is not a slug: use lower-case words and hyphens.")
        _registry[self.slug] = self

    @property
    def type(self) -> str:
        """The `type` of its problems."""
        return f"/errors/{self.slug}"


def all_problem_types() -> list[ProblemType]:
    """Return the registered types by status and slug, including those of the imported services."""
    return sorted(_registry.values(), key=lambda known: (known.status, known.slug))


def get_problem_type(slug: str) -> ProblemType | None:
    """Return the type that has this slug, if any."""
    return _registry.get(slug)


def problem_type_for_status(status: int) -> ProblemType:
    """Return the type for an error of Django or REST framework that has only a status.

    Raises KeyError for a status that neither of them uses.
    """
    return _BY_STATUS[status]


BAD_REQUEST = ProblemType(
    slug="bad-request",
    status=400,
    title="Bad request",
    meaning="The request is malformed, or its host name is not served here.",
    remedy="Check the host name and the syntax of the request.",
)
INVALID_INPUT = ProblemType(
    slug="invalid-input",
    status=400,
    title="Invalid input",
    meaning="The input is not valid. `errors` names each field and the reason.",
    remedy="Correct the fields in `errors`, and send the request again. Nothing was changed.",
)
CONDITION_NOT_SUPPORTED = ProblemType(
    slug="condition-not-supported",
    status=400,
    title="Condition not supported",
    meaning="A request that changes data has a conditional header, such as `If-Match`. The API "
    "compares conditions only when it reads. Nothing was changed.",
    remedy="Leave the header out. To be sure of an order's price, send `expected_amount` and "
    "`expected_currency`.",
)
NOT_AUTHENTICATED = ProblemType(
    slug="not-authenticated",
    status=401,
    title="Not authenticated",
    meaning="The request has no token, or its token is not valid or has expired.",
    remedy="Get a token with `POST /api/v1/auth/token/`, and send it as `Authorization: Bearer …`.",
    headers=("WWW-Authenticate",),
)
WRONG_CREDENTIALS = ProblemType(
    slug="wrong-credentials",
    status=401,
    title="Wrong credentials",
    meaning="No active user has this name and password.",
    remedy="Ask the user for name and password again. The API does not say which of the two is "
    "wrong.",
    headers=("WWW-Authenticate",),
)
FORBIDDEN = ProblemType(
    slug="forbidden",
    status=403,
    title="Forbidden",
    meaning="The user of this token does not have permission for this operation.",
    remedy="Use the token of a user who has permission. Repeating the request does not help.",
)
NOT_FOUND = ProblemType(
    slug="not-found",
    status=404,
    title="Not found",
    meaning="Nothing exists at this path, or this user may not see it.",
    remedy="Check the path: all paths end with a slash. Resources of other users, such as orders, "
    "are reported as not found.",
)
ACTION_REJECTED = ProblemType(
    slug="action-rejected",
    status=409,
    title="Action rejected",
    meaning="Staff may take this action, but not now. `detail` says why. Nothing was changed.",
    remedy="Remove the reason that `detail` names, then send the request again.",
)
METHOD_NOT_ALLOWED = ProblemType(
    slug="method-not-allowed",
    status=405,
    title="Method not allowed",
    meaning="This path does not support the method of the request.",
    remedy="Use one of the methods that the header `Allow` names.",
    headers=("Allow",),
)
NOT_ACCEPTABLE = ProblemType(
    slug="not-acceptable",
    status=406,
    title="Not acceptable",
    meaning="The API cannot answer in the media type that `Accept` asks for.",
    remedy="Accept `application/json`, or leave the header out.",
)
LENGTH_REQUIRED = ProblemType(
    slug="length-required",
    status=411,
    title="Length required",
    meaning="The body was sent in chunks, without a `Content-Length`.",
    remedy="Send the whole body with a `Content-Length`.",
)
PRECONDITION_FAILED = ProblemType(
    slug="precondition-failed",
    status=412,
    title="Precondition failed",
    meaning="The resource does not match `If-Match`: it has changed since you read it.",
    remedy="Read the resource again, and decide on its current state.",
)
BODY_TOO_LARGE = ProblemType(
    slug="body-too-large",
    status=413,
    title="Body too large",
    meaning="The body is larger than the API accepts.",
    remedy="Send a smaller body, if necessary in several requests.",
)
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    slug="unsupported-media-type",
    status=415,
    title="Unsupported media type",
    meaning="The API does not read bodies of this media type.",
    remedy="Send JSON, with `Content-Type: application/json`.",
)
TOO_MANY_REQUESTS = ProblemType(
    slug="too-many-requests",
    status=429,
    title="Too many requests",
    meaning="The client has reached its limit of requests per minute.",
    remedy="Wait for the number of seconds in `Retry-After`, then send the request again.",
    headers=("Retry-After",),
)
TOO_MANY_FAILED_LOGINS = ProblemType(
    slug="too-many-failed-logins",
    status=429,
    title="Too many failed logins",
    meaning="Too many logins with this name have failed from this address.",
    remedy="Wait for the number of seconds in `Retry-After` before the next attempt.",
    headers=("Retry-After",),
)
INTERNAL_ERROR = ProblemType(
    slug="internal-error",
    status=500,
    title="Internal error",
    meaning="The server failed to handle the request. The error was logged.",
    remedy="Send the request again, with the same `Idempotency-Key` if it had one. If the error "
    "persists, contact the operator.",
)
UNAVAILABLE = ProblemType(
    slug="unavailable",
    status=503,
    title="Unavailable",
    meaning="A database is not reachable. The request was not partly carried out: it is safe to "
    "repeat.",
    remedy="Wait for the number of seconds in `Retry-After`, then send the same request again.",
    headers=("Retry-After",),
)

_BY_STATUS = {
    general.status: general
    for general in (
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
