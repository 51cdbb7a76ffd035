"""The project's settings, plus the example service that tests the engine alone."""

from config.settings import *  # noqa: F403
from config.settings import CELERY_BEAT_SCHEDULE as SCHEDULE
from config.settings import INSTALLED_APPS as APPS

INSTALLED_APPS = [*APPS, "tests.trips.apps.TripsConfig"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

CELERY_BEAT_SCHEDULE = {
    **SCHEDULE,
    "flush-trips": {
        **SCHEDULE["flush-orders"],
        "args": ("trips",),
        "options": {"queue": "trips", "expires": 60},
    },
    "redrive-trips": {
        **SCHEDULE["redrive"],
        "args": ("trips",),
        "options": {"queue": "trips", "expires": 60},
    },
}
