"""Rebuilds the rows of a database that was lost or restored, from the other two and the gateway."""
