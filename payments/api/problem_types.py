"""The kinds of problem that only payments knows."""

from api.problems.problem_types import ProblemType

__all__ = ["NO_EVENT"]

NO_EVENT = ProblemType(
    slug="not-a-stripe-event",
    status=400,
    title="Not a Stripe event",
    meaning="This is no event that Stripe has signed within the last five minutes. Nothing of it is kept.",
    remedy="Compare the webhook's secret with Stripe's, and the clocks. Stripe sends the event again by itself.",
)
