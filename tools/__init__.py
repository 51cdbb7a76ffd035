"""Programs that run, break, measure and stand in for parts of the service from outside."""
