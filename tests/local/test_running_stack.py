"""`manage.py` finds the servers of a running `make run`. No other process ever reads its file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services import VARIABLES
from tools.local.rundir import PROJECT, RunDir

STACK = {
    **{
        variable: f"postgres://user:secret@127.0.0.1:1/{variable.lower()}"
        for variable in VARIABLES.values()
    },
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "SECRET_KEY": "from the stack",
    "DEBUG": "on",
    "RATE_LIMIT_READS": "0",
}
ASK = "from django.conf import settings; print(settings.DEBUG, settings.SECRET_KEY)"
SHELL = ("manage.py", "shell", "--verbosity", "0", "-c", ASK)


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    run_dir = RunDir(tmp_path / "run")
    run_dir.write_env(STACK)
    return run_dir


def run(run_dir: RunDir, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the run directory, and with none of its variables."""
    env = {name: value for name, value in os.environ.items() if name not in STACK}
    env |= {"DJANGO_SETTINGS_MODULE": "config.settings", "RUN_DIR": str(run_dir.path), **variables}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_manage_py_uses_a_running_stack_and_says_so(run_dir: RunDir) -> None:
    with run_dir.locked():
        asked = run(run_dir, *SHELL)
    assert asked.stdout == "True from the stack\n", asked.stderr
    assert f"Using the servers of the running stack in {run_dir.path}." in asked.stderr


def test_what_an_ended_stack_has_left_is_not_read(run_dir: RunDir) -> None:
    with run_dir.locked():
        pass
    asked = run(run_dir, *SHELL)
    assert asked.returncode != 0
    assert "is not set" in asked.stderr
    assert "Using the servers" not in asked.stderr


@pytest.mark.parametrize("named", VARIABLES.values())
def test_a_process_with_a_database_of_its_own_reads_nothing(run_dir: RunDir, named: str) -> None:
    own = {named: "postgres://db.example.com/orders", "ALLOWED_HOSTS": "localhost"}
    with run_dir.locked():
        asked = run(run_dir, *SHELL, **own)
    assert "SECRET_KEY is not set" in asked.stderr
    assert "Using the servers" not in asked.stderr


@pytest.mark.parametrize(
    "module", ["config.wsgi", "config.celery", "config.settings", "gunicorn.app.wsgiapp"]
)
def test_the_api_workers_and_beat_read_nothing(run_dir: RunDir, module: str) -> None:
    load = "import django; django.setup()"
    with run_dir.locked():
        started = run(run_dir, "-c", f"import {module}; {load}")
    assert started.returncode != 0
    assert "ALLOWED_HOSTS is not set" in started.stderr
