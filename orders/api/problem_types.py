"""The problem types of orders and products."""

from api.problems.problem_types import ProblemType

__all__ = [
    "AMOUNT_CHANGED",
    "KEY_IN_FLIGHT",
    "KEY_REUSED",
    "NOT_CHARGEABLE",
    "ORDER_FULFILLED",
    "SKU_TAKEN",
    "TOO_MANY_WAITING",
]

AMOUNT_CHANGED = ProblemType(
    slug="amount-changed",
    status=409,
    title="Amount changed",
    meaning="The order has another amount or currency than `expected_amount` and "
    "`expected_currency`. `amount` and `currency` are the present ones. Nothing was placed.",
    remedy="Show the new amount to the customer. If the customer agrees, send the order again with "
    "the new expectation. The same key may be used, because nothing was stored for it.",
    members=(("amount", 2700), ("currency", "eur")),
)

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
    meaning="This key was already used for a different order.",
    remedy="Use a new key for each new order. Reuse a key only to send the same order again.",
)
NOT_CHARGEABLE = ProblemType(
    slug="not-chargeable",
    status=422,
    title="Not chargeable",
    meaning="The payment gateway cannot charge this price or the amount of this order. `detail` "
    "says why. Nothing was stored.",
    remedy="For a product, choose a price and a currency that the gateway charges. For an order, "
    "change the quantities; if that does not help, staff must change the product.",
)
ORDER_FULFILLED = ProblemType(
    slug="order-fulfilled",
    status=409,
    title="Order fulfilled",
    meaning="The order is fulfilled: it can no longer be cancelled.",
    remedy="Do not repeat the request: a fulfilled order stays fulfilled.",
)
SKU_TAKEN = ProblemType(
    slug="sku-taken",
    status=409,
    title="SKU taken",
    meaning="A product with this SKU already exists.",
    remedy="Choose another SKU, or change the existing product with `PATCH`.",
)
TOO_MANY_WAITING = ProblemType(
    slug="too-many-waiting",
    status=503,
    title="Too many waiting",
    meaning="The server has reached its limit of waiting requests and open streams.",
    remedy="Wait for the number of seconds in `Retry-After`, then try again; or poll the order "
    "instead.",
    headers=("Retry-After",),
)
