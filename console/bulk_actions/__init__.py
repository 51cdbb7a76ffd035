"""Runs: an operator's action on many sagas, from the preview to the outcome."""
