"""The naive service's settings, with persistent connections, because they are faster."""

from tests.naive.settings import *  # noqa: F403

ROOT_URLCONF = "tools.benchmarks.baseline.urls"
CELERY_DB_REUSE_MAX = 10_000
