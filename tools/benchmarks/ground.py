"""Two whole systems, each on servers of its own: the service as it is, and the plain shop it is
measured against.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.benchmarks.runs import Shop
from tools.local.ports import free_port
from tools.local.postgres import Postgres
from tools.local.programs import API_PORT_VARIABLE
from tools.local.rundir import RunDir
from tools.local.servers import DATABASE_VARIABLES
from tools.local.stack import Stack, running_stack
from tools.local.valkey import Valkey

__all__ = ["new_shop"]

GIVEN = (*DATABASE_VARIABLES, "REDIS_URL", "CELERY_BROKER_URL", "SECRET_KEY", "DEBUG", "RUN_DIR")
PORTS = (Postgres.port_variable, Valkey.port_variable, API_PORT_VARIABLE)
# Debugging costs time, and remembers every statement. gunicorn starts anew what was frozen for
# long.
SETTINGS = {"DEBUG": "off", "ALLOWED_HOSTS": "127.0.0.1", "GUNICORN_CMD_ARGS": "--timeout 600"}
PLAIN = "tools.benchmarks.plain.settings"


@contextlib.contextmanager
def new_shop(*, plain: bool = False) -> Iterator[Shop]:
    """Run a system from nothing, with the durable servers and the default settings that `make
    run` has.
    """
    run_dir = RunDir(Path(tempfile.mkdtemp(prefix="benchmark-")))
    with contextlib.ExitStack() as leaving:
        leaving.callback(run_dir.remove)
        shop = Shop(
            leaving.enter_context(_stack(run_dir, "config.settings" if not plain else PLAIN)),
            plain=plain,
        )
        leaving.callback(shop.close)
        yield shop


@contextlib.contextmanager
def _stack(run_dir: RunDir, settings: str) -> Iterator[Stack]:
    def say(news: str) -> None:
        print(news)

    with contextlib.ExitStack() as leaving:
        with _environment(settings):
            stack = leaving.enter_context(running_stack(run_dir, notify=say))
        yield stack


@contextlib.contextmanager
def _environment(settings: str) -> Iterator[None]:
    """Set what a stack reads as it starts, whatever servers the user's environment names."""
    before = dict(os.environ)
    for variable in GIVEN:
        os.environ.pop(variable, None)
    ports = {variable: str(free_port()) for variable in PORTS}
    os.environ.update({"DJANGO_SETTINGS_MODULE": settings, **SETTINGS, **ports})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
