"""A gateway that takes its time: workers of some tests use it in place of the simulated one."""
