from collections.abc import Iterator

import pytest

from tests.sandbox.process import Sandbox, running


@pytest.fixture(scope="module")
def _module_sandbox() -> Iterator[Sandbox]:
    # Nothing settles by itself: a test says when.
    with running("--settle-seconds", "3600") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_module_sandbox: Sandbox) -> Iterator[Sandbox]:
    """A sandbox that a module's tests share, without faults."""
    yield _module_sandbox
    _module_sandbox.http.delete("/sandbox/faults").raise_for_status()
