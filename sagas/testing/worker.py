"""A worker of `saga_workers` also refuses on request, and it ends with the process of the test.

The worker imports this module by `--include`, when the steps of the project are registered.
"""

import os
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

from sagas.definition import handlers
from sagas.testing.replacements import Replacement, declared_refusal, substitute
from sagas.testing.variables import REFUSING

__all__ = ["FolderScript", "end_with_the_test", "refuse_on_request"]

STDIN = 0

# The substitutes stay for the rest of this process.
_substitutes = ExitStack()


class FolderScript:
    """Lets a step refuse for the sagas that a folder names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, step: str, saga: UUID) -> Replacement | None:
        """Return a refusal if the folder has one for this step of the saga."""
        named = self._folder / str(saga)
        if not named.exists() or named.read_text() != step:
            return None
        return Replacement("refuses", lambda: declared_refusal(step))


def refuse_on_request(folder: Path) -> None:
    """Substitute every step that may refuse. Call it again if steps are registered later."""
    for name in handlers.names():
        definition = handlers.definition(name)
        if definition is not None and definition.refusal is not None:
            substituted = substitute(definition, FolderScript(folder))
            _substitutes.enter_context(handlers.substituted(substituted))


def end_with_the_test() -> None:
    """Kill this worker and its children once the test's process is gone."""
    # The other end of the pipe closes with the test's process. sys.stdin would be locked while the
    # thread reads, and a forked child closes it.
    os.read(STDIN, 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if os.environ.get("FAILPOINTS"):
    refuse_on_request(Path(os.environ["FAILPOINTS"]) / REFUSING)
    threading.Thread(target=end_with_the_test, daemon=True).start()
