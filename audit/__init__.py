"""The invariants across the three databases, checked on demand by `manage.py audit`. Reads only."""
