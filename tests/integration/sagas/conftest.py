from contextlib import contextmanager

import pytest

from sagas import lifecycle
from tests.broker import empty
from tests.plugin import running
from tests.trips import harness


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Each test starts with an empty queue and steps that do the ordinary thing; it flushes by
    hand, not by a nudge.
    """
    monkeypatch.setattr(lifecycle, "request_flush", lambda service: None)
    harness.forget()
    empty()


@pytest.fixture
def dead_broker():
    """A context in which the broker is down: killed as it starts, and back, with what it had,
    when it ends.
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
    """A context in which the broker takes connections and answers nothing."""

    @contextmanager
    def hung():
        running().valkey.freeze()
        try:
            yield
        finally:
            running().valkey.thaw()

    return hung
