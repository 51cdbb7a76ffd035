"""Template filters of the page of an order."""
