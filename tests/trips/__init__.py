"""A service of the tests' own: trips, whose steps do what a test tells them, so that the engine
is tried by itself.
"""
