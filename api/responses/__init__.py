"""Building responses: pages, ETags, event streams and long polling."""
