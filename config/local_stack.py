"""Lets `manage.py` use the servers of a running `make run`.

Only `manage.py` does, only while that stack is up, and only if no database is named. So what `make
run` leaves behind, such as DEBUG=on, never reaches the API, a worker or beat.
"""

import fcntl
import os
import sys
from pathlib import Path

import environ

from services import VARIABLES

__all__ = ["use_running_stack"]

PROJECT = Path(__file__).resolve().parent.parent


def use_running_stack() -> None:
    """Read the variables that are not set from the stack of this checkout, if it is up.

    RUN_DIR names another directory than `.run`. Says so in one line on standard error.
    """
    if any(os.environ.get(variable) for variable in VARIABLES.values()):
        return

    env = environ.Env()
    directory = Path(env.str("RUN_DIR", default="") or PROJECT / ".run")
    if not _is_up(directory):
        return

    env.read_env(directory / "env")
    sys.stderr.write(f"Using the servers of the running stack in {directory}.\n")


def _is_up(directory: Path) -> bool:
    """Tell whether a process holds the lock of the directory, which ends with that process."""
    try:
        lock = (directory / "lock").open()
    except OSError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return (directory / "env").is_file()
        return False
