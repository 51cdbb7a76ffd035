"""A worker of an older release, which does not know one of the steps."""
