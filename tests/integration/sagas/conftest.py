from contextlib import contextmanager

import pytest

from sagas import lifecycle
from sagas.delivery import admission
from tests.broker import empty
from tests.integration.sagas.in_flight import Bank, calls_fly
from tests.plugin import running
from tests.trips import harness


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Start each test with an empty queue and steps that succeed.

    The flush thread is off: a test calls the relay itself.
    """
    monkeypatch.setattr(lifecycle, "request_flush", lambda service: None)
    monkeypatch.setattr(admission, "_lengths", {})
    harness.forget()
    empty()


@pytest.fixture
def flying():
    """Let the calls of the test fly, as in a worker."""
    with calls_fly():
        yield


@pytest.fixture
def bank():
    """Return an outside system whose answers the test releases."""
    bank = Bank()
    yield bank
    bank.answer_all()


@pytest.fixture
def dead_broker():
    """Return a context in which the broker is down.

    The broker is killed at the start and restarted at the end. It keeps its messages.
    """

    @contextmanager
    def dead():
        running().valkey.kill()
        try:
            yield
        finally:
            running().valkey.start()

    return dead


@pytest.fixture
def hung_broker():
    """Return a context in which the broker accepts connections, but does not answer."""

    @contextmanager
    def hung():
        running().valkey.freeze()
        try:
            yield
        finally:
            running().valkey.thaw()

    return hung
