"""The kinds of problem that only orders and products know."""

from api.problems.problem_types import ProblemType

__all__ = ["KEY_IN_FLIGHT", "KEY_REUSED", "ORDER_FULFILLED", "SKU_TAKEN", "TOO_MANY_WAITING"]

KEY_IN_FLIGHT = ProblemType(
    slug="idempotency-key-in-flight",
    status=409,
    title="Idempotency key in flight",
    meaning="A request with this key is being handled at this moment.",
    remedy="Wait for the seconds that `Retry-After` names, then send the same request under the same key again.",
    headers=("Retry-After",),
)
KEY_REUSED = ProblemType(
    slug="idempotency-key-reused",
    status=422,
    title="Idempotency key reused",
    meaning="This key was used for another order before.",
    remedy="Use a new key for each new order, and an old one only to send the same order again.",
)
ORDER_FULFILLED = ProblemType(
    slug="order-fulfilled",
    status=409,
    title="Order fulfilled",
    meaning="The order is fulfilled: it is too late to cancel it.",
    remedy="Do not try again: an order that is fulfilled stays so.",
)
SKU_TAKEN = ProblemType(
    slug="sku-taken",
    status=409,
    title="SKU taken",
    meaning="There is a product of this SKU already.",
    remedy="Choose another SKU, or change the product with `PATCH`.",
)
TOO_MANY_WAITING = ProblemType(
    slug="too-many-waiting",
    status=503,
    title="Too many waiting",
    meaning="As many clients as can be served are waiting, or following a stream, already.",
    remedy="Wait for the seconds that `Retry-After` names, then come again; or read the order now and then instead.",
    headers=("Retry-After",),
)
