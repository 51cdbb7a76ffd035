"""Stock over REST, for staff."""
