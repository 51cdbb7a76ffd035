"""The buckets of time in which the charts of the start page count sagas."""

__all__ = ["BUCKETS", "NEWEST", "WIDTHS"]

# Sagas of a kind that are read, by primary key, which rises with time.
NEWEST = 5_000
BUCKETS = 48

# Widths of a bucket in seconds. The narrowest one with which `BUCKETS` span all sagas is used.
WIDTHS = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400)
