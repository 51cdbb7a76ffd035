"""The problem types of payments."""

from api.problems.problem_types import ProblemType

__all__ = ["NO_EVENT"]

NO_EVENT = ProblemType(
    slug="not-a-stripe-event",
    status=400,
    title="Not a Stripe event",
    meaning="The request is not an event that Stripe has signed within the last five minutes. "
    "Nothing is stored.",
    remedy="Compare STRIPE_WEBHOOK_SECRET with the secret in Stripe's dashboard, and check the "
    "server's clock. Stripe sends the event again by itself.",
)
