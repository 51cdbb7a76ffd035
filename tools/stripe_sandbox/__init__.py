"""A payment provider that is not one: it answers as Stripe's API does, keeps its own books, and
fails on demand.
"""
