"""Runs: an operator's action on many orders, from the preview to the outcome."""
