"""The checks, by what they look at. `audit.catalogue` says which invariant each belongs to."""
