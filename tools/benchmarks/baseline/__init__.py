"""The baselines: the naive service with persistent connections, and a view that only inserts."""
