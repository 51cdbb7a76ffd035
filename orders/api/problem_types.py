"""The problem types of orders and products."""

from api.problems.problem_types import ProblemType

__all__ = [
    "AMOUNT_CHANGED",
    "NOT_CHARGEABLE",
    "ORDER_FULFILLED",
    "SKU_TAKEN",
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

NOT_CHARGEABLE = ProblemType(
    slug="not-chargeable",
    status=422,
    title="Not chargeable",
    meaning="The payment gateway cannot charge this price or the amount of this order, or a price "
    "is 0 and the setting `FREE_PRODUCTS` is off. `detail` says why. Nothing was stored.",
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
