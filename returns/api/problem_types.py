"""The problem types of returns."""

from api.problems.problem_types import ProblemType

__all__ = ["NOT_RETURNABLE", "RETURN_TOO_LARGE"]

NOT_RETURNABLE = ProblemType(
    slug="not-returnable",
    status=409,
    title="Not returnable",
    meaning="The order is not fulfilled, so nothing of it can come back or be refunded.",
    remedy="Wait until the order is fulfilled. Cancel an order that is not.",
)
RETURN_TOO_LARGE = ProblemType(
    slug="return-too-large",
    status=409,
    title="Return too large",
    meaning="The order has less left than this asks for: other returns and goodwill claim the "
    "rest, or the order was free and has no money to give back. `left` is the number of pieces "
    "that are left, or the amount in minor units.",
    remedy="Ask for no more than `left`. Returns that were refused or cancelled free their part.",
    members=(("left", 1),),
)
