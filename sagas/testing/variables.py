"""Names that the test's process and its workers share."""

__all__ = ["DATABASE_NAMES", "HOST_SETTINGS", "REFUSING", "TIMES"]

# Environment variables: the project's settings module, and the names of the test's databases by
# alias, as JSON.
HOST_SETTINGS = "SAGA_TESTING_SETTINGS"
DATABASE_NAMES = "SAGA_TESTING_DATABASES"

# The folder in the directory of the failpoints with a file for each saga whose step must refuse.
REFUSING = "refusing"

# Settings of the engine, in seconds. A lost process is noticed soon, so that a crash costs seconds
# and not minutes.
TIMES = {"FLUSH_SECONDS": 0.5, "LEASE_SECONDS": 1.0, "STALL_SECONDS": 1.5}
