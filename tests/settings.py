"""The project's settings, plus the example service that tests the engine alone."""

from config.settings import *  # noqa: F403
from config.settings import DATABASES as SERVICE_DATABASES
from config.settings import INSTALLED_APPS as APPS

INSTALLED_APPS = [*APPS, "tests.trips.apps.TripsConfig", "tests.trips_api"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Each test database can be made alone. Otherwise a run of tests that need only one would fail.
DATABASES = {
    alias: {**config, "TEST": {"DEPENDENCIES": []}} for alias, config in SERVICE_DATABASES.items()
}
