"""The kinds of problem that only stock knows."""

from api.problems.problem_types import ProblemType

__all__ = ["STOCK_TOO_LOW"]

STOCK_TOO_LOW = ProblemType(
    slug="stock-too-low",
    status=409,
    title="Stock too low",
    meaning="There are fewer pieces than were to be taken out, apart from those that are reserved.",
    remedy="Read the stock of the SKU, and take out no more than is `available`.",
)
