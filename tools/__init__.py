"""Programs that run, break and measure the service from outside, or check its sources."""
