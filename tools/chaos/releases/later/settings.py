"""The project's settings for a process of this release."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as APPS

INSTALLED_APPS = [*APPS, "tools.chaos.releases.later"]
