"""The databases that a process looks at when it starts."""

import subprocess
import sys

import pytest

from services import ALIASES, VARIABLES
from tests.processes import LIMIT, ROOT, environment

pytestmark = pytest.mark.django_db(databases="__all__")

LOOK = """
import django; django.setup()
from sagas.operations.diagnosis import database_problems
print(*database_problems(), sep="\\n")
"""


def problems(**environ):
    """Return the problems with databases that a process of its own finds."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        cwd=ROOT,
        env={**environment(), **environ},
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT,
    )
    return done.stdout.strip()


def test_a_database_of_a_service_that_this_process_does_not_serve_is_no_problem():
    others = {variable: "" for alias, variable in VARIABLES.items() if alias != ALIASES["payments"]}
    assert problems(**others, SERVICES="payments") == ""


def test_a_database_that_does_not_exist_is_named_with_its_service():
    url = environment()["PAYMENTS_DATABASE_URL"]
    found = problems(PAYMENTS_DATABASE_URL=f"{url}_which_does_not_exist")
    assert found.startswith("The database 'payments' of payments cannot be reached: ")
    assert "DATABASES" in found
