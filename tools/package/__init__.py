"""Builds the wheel of the engine, and tests it in an environment of its own."""
