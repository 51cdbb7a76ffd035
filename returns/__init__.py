"""Returns: goods of fulfilled orders that come back, and money given back out of goodwill."""
