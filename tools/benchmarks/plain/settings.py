"""The naive shop's settings, at its fastest: each worker keeps its connections."""

from tests.naive.settings import *  # noqa: F403

ROOT_URLCONF = "tools.benchmarks.plain.urls"
CELERY_DB_REUSE_MAX = 10_000
