"""Running the engine within the process of a test: without a broker, and in its transaction."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

from sagas.delivery import admission
from sagas.execution import runner
from sagas.execution.failures import StepFailed, record_failures
from sagas.testing.mailbox import StepDelivery

__all__ = ["run_step", "without_broker"]

logger = logging.getLogger(__name__)


@contextmanager
def without_broker() -> Iterator[None]:
    """Send nothing, and run the callbacks of commits at the end of the context."""
    with admission.suspended(), _committing():
        yield


def run_step(delivery: StepDelivery) -> str:
    """Run a step, and count its failure as the error callback does; return its error."""
    try:
        runner.run(delivery.step, delivery.plan, [delivery.message])
    except StepFailed as failed:
        record_failures(delivery.plan, delivery.step, failed.failures)
        return failed.failures[0].error
    return ""


@contextmanager
def _committing() -> Iterator[None]:
    """Run the callbacks that are registered within, once each, as a commit would.

    In a test whose transaction is rolled back, Django runs none of them. Callbacks of the test
    itself, registered before, are left alone. Raises the error of a callback that is not robust.
    """
    registered = {one.alias: len(one.run_on_commit) for one in connections.all()}
    yield
    for connection in connections.all():
        first = registered.get(connection.alias, 0)
        while len(connection.run_on_commit) > first:
            registration: Any = connection.run_on_commit.pop(first)
            _, callback, is_robust = registration
            try:
                callback()
            except Exception:
                if not is_robust:
                    raise
                logger.exception("A callback of a commit failed, but it is robust")
