"""The project's settings, with the naive tasks in place of the saga, and Celery as it comes."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as APPS

INSTALLED_APPS = [*APPS, "tests.naive.apps.NaiveConfig"]
ROOT_URLCONF = "tests.naive.urls"

# Nothing of the saga runs: neither relay nor rescue.
CELERY_BEAT_SCHEDULE = {}
CELERY_TASK_ACKS_LATE = False
CELERY_TASK_PUBLISH_RETRY = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 4
CELERY_DB_REUSE_MAX = None  # type: ignore[assignment]
