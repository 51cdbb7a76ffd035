"""The settings as the type checker loads them: with no server, and nothing in the environment."""

import os

from services import VARIABLES

for alias, variable in VARIABLES.items():
    os.environ.setdefault(variable, f"postgres://localhost/{alias}")
os.environ.setdefault("REDIS_URL", "redis://localhost/0")
os.environ.setdefault("DEBUG", "on")
os.environ.setdefault("SECRET_KEY", "for the type checker only")

from tests.settings import *  # noqa: E402, F403
