"""A simulated payment provider: it answers as Stripe's API does, and fails on demand."""
