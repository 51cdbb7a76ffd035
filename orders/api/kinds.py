"""The kinds of problem that only orders and products know."""

from api.kinds import Kind

__all__ = ["KEY_IN_FLIGHT", "KEY_REUSED", "ORDER_FULFILLED", "SKU_TAKEN", "TOO_MANY_WAITING"]

KEY_IN_FLIGHT = Kind(
    slug="idempotency-key-in-flight",
    status=409,
    title="Idempotency key in flight",
    means="A request with this key is being handled at this moment.",
    remedy="Wait for the seconds that `Retry-After` names, then send the same request under the same key again.",
    headers=("Retry-After",),
)
KEY_REUSED = Kind(
    slug="idempotency-key-reused",
    status=422,
    title="Idempotency key reused",
    means="This key was used for another order before.",
    remedy="Use a new key for each new order, and an old one only to send the same order again.",
)
ORDER_FULFILLED = Kind(
    slug="order-fulfilled",
    status=409,
    title="Order fulfilled",
    means="The order is fulfilled: it is too late to cancel it.",
    remedy="Do not try again: an order that is fulfilled stays so.",
)
SKU_TAKEN = Kind(
    slug="sku-taken",
    status=409,
    title="SKU taken",
    means="There is a product of this SKU already.",
    remedy="Choose another SKU, or change the product with `PATCH`.",
)
TOO_MANY_WAITING = Kind(
    slug="too-many-waiting",
    status=503,
    title="Too many waiting",
    means="As many clients as can be served are waiting, or following a stream, already.",
    remedy="Wait for the seconds that `Retry-After` names, then come again; or read the order now and then instead.",
    headers=("Retry-After",),
)
