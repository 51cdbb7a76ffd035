"""The checks, one module for each subject. `audit.catalogue` assigns them to the invariants."""
