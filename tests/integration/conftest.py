import pytest

from sagas.delivery import wakeup


@pytest.fixture(autouse=True)
def flush_threads(monkeypatch):
    """Turn off the flush threads of the test's process.

    Such a thread would take due rows before the test does. Which of the two comes first is chance.
    """
    monkeypatch.setattr(wakeup._FlushThread, "flush_once", lambda thread: 0)
    monkeypatch.setattr(wakeup, "request_gathered_flush", lambda service: None)
