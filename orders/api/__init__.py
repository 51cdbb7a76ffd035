"""Orders and products over REST."""
