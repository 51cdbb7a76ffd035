"""The tests' settings with the slow gateway."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as APPS

INSTALLED_APPS = [*APPS, "tests.outside.waiting.apps.WaitingConfig"]
PAYMENT_GATEWAY = "waiting"
