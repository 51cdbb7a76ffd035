"""The project's settings with the naive tasks instead of the saga, and Celery's defaults."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as APPS

INSTALLED_APPS = [*APPS, "tests.naive.apps.NaiveConfig"]
ROOT_URLCONF = "tests.naive.urls"

# The saga's relay and redrive do not run.
CELERY_BEAT_SCHEDULE = {}
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_PUBLISH_RETRY = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 4
CELERY_DB_REUSE_MAX: int | None = None

# A worker would refuse to start with these settings.
SILENCED_SYSTEM_CHECKS = [*(f"sagas.E{number:03}" for number in (23, 24, 25, 26, 45, 49, 50, 51))]
