"""A slow gateway. Workers of some tests use it instead of the simulated gateway."""
