"""The pytest plugin of the test kit: the fixture `saga_workers`.

Without the installed package, name it in the top conftest.py of the project:
`pytest_plugins = ["sagas.testing.plugin"]`. It needs pytest-django.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sagas.testing.workers import SagaWorkers

INI = "saga_celery_app"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting of the Celery app."""
    parser.addini(INI, "The Celery app of the project, as in `celery --app`.", default="")


@pytest.fixture(scope="module")
def saga_workers(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: Any,
) -> "Iterator[SagaWorkers]":
    """Run two workers of all services on the databases of the test, for the tests of a module.

    The setting `saga_celery_app` names the Celery app. The default is the name of the current app.
    """
    from celery import current_app  # noqa: PLC0415  pytest loads this before Django is set up

    from sagas.testing.workers import SagaWorkers  # noqa: PLC0415  the same

    app = request.config.getini(INI) or current_app.main
    workers = SagaWorkers(app, tmp_path_factory.mktemp("saga-workers"))
    try:
        workers.await_ready()
        yield workers
    finally:
        workers.stop()
