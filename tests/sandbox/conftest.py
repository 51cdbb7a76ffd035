from collections.abc import Iterator

import pytest

from tests.sandbox.process import Sandbox, running


@pytest.fixture(scope="module")
def _module_sandbox() -> Iterator[Sandbox]:
    # Payments settle only on request.
    with running("--settle-seconds", "3600") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_module_sandbox: Sandbox) -> Iterator[Sandbox]:
    """Return the sandbox of the module, without faults."""
    yield _module_sandbox
    _module_sandbox.http.delete("/sandbox/faults").raise_for_status()
