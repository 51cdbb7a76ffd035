"""Start a PostgreSQL and a Valkey for each test process, before Django reads its settings."""

import os
from collections.abc import Generator
from contextlib import ExitStack
from itertools import groupby

import pytest

from tools.local.servers import Servers, private_servers

__all__ = ["running"]

_stack = ExitStack()
_running: list[Servers] = []


def running() -> Servers:
    """Return the servers of this process, for tests that restart, freeze or kill them."""
    return _running[0]


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Start the servers. A wrapper runs first: pytest-django reads the settings in this hook."""
    servers = _stack.enter_context(private_servers(started=not _only_hands_out(early_config)))
    _running.append(servers)
    # Tests override the environment, so that they never touch the databases of a running system.
    os.environ.update(servers.env, RUN_DIR=str(servers.run_dir.path))
    os.environ.pop("CELERY_BROKER_URL", None)
    yield


def _only_hands_out(config: pytest.Config) -> bool:
    """Tell whether this process only distributes the tests (`-n`), and so needs no server."""
    workers = getattr(config.known_args_namespace, "numprocesses", None)
    return bool(workers) and "PYTEST_XDIST_WORKER" not in os.environ


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each of the test processes begin with its share of the tests that start processes.

    Such a test takes seconds. If it came last, the other processes would have nothing to do.
    Each process (`-n`) begins with an equal part of the list, and takes over what others have left.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    others = [item for item in items if not item.get_closest_marker("system")]
    system = [item for item in items if item.get_closest_marker("system")]
    modules = [list(group) for _, group in groupby(system, key=lambda item: item.path)]
    size = -(-len(items) // count)

    ordered: list[pytest.Item] = []
    for index in range(count):
        share = [item for module in modules[index::count] for item in module]
        ordered += share + others[: max(0, size - len(share))]
        del others[: max(0, size - len(share))]
    items[:] = ordered + others


def pytest_unconfigure() -> None:
    """Stop the servers, and remove their data."""
    _stack.close()
