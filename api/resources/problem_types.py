"""The problem types that every resource with a saga may answer with."""

from api.problems.problem_types import ProblemType

__all__ = [
    "KEY_IN_FLIGHT",
    "KEY_REUSED",
    "NOT_CANCELLABLE",
    "TOO_MANY_OF_USER",
    "TOO_MANY_WAITING",
]

KEY_IN_FLIGHT = ProblemType(
    slug="idempotency-key-in-flight",
    status=409,
    title="Idempotency key in flight",
    meaning="The server is still handling another request with this key.",
    remedy="Wait for the number of seconds in `Retry-After`, then send the same request with the "
    "same key again.",
    headers=("Retry-After",),
)
KEY_REUSED = ProblemType(
    slug="idempotency-key-reused",
    status=422,
    title="Idempotency key reused",
    meaning="This key was already used for a different request.",
    remedy="Use a new key for each new request. Reuse a key only to send the same request again.",
)
NOT_CANCELLABLE = ProblemType(
    slug="not-cancellable",
    status=409,
    title="Not cancellable",
    meaning="It is too late to cancel this: the step that cannot be undone is done.",
    remedy="Do not repeat the request. Read the resource to see how it ends.",
)
TOO_MANY_OF_USER = ProblemType(
    slug="too-many-streams",
    status=429,
    title="Too many streams",
    meaning="The user has reached the limit of one user for waiting requests and open streams.",
    remedy="Close a stream, or wait for the number of seconds in `Retry-After` and try again; or "
    "poll the resource instead.",
    headers=("Retry-After",),
)
TOO_MANY_WAITING = ProblemType(
    slug="too-many-waiting",
    status=503,
    title="Too many waiting",
    meaning="The server has reached its limit of waiting requests and open streams.",
    remedy="Wait for the number of seconds in `Retry-After`, then try again; or poll the "
    "resource instead.",
    headers=("Retry-After",),
)
