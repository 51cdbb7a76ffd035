"""The problem types of stock."""

from api.problems.problem_types import ProblemType

__all__ = ["STOCK_TOO_LOW"]

STOCK_TOO_LOW = ProblemType(
    slug="stock-too-low",
    status=409,
    title="Stock too low",
    meaning="The adjustment would take out more pieces than are available. Reserved pieces do not "
    "count as available.",
    remedy="Read the stock of the SKU, and take out no more than is `available`.",
)
