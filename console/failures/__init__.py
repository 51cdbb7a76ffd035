"""Failing steps in groups, and the past runs against each group."""
