"""Payments over REST, for staff."""
