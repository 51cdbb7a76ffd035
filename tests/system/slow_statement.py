"""A gateway whose statement is answered when a test says so, as a gateway that hangs."""

import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from payments.gateways.base import Movement
from payments.gateways.simulated import SimulatedGateway

__all__ = ["FOLDER", "PATH", "SlowStatement"]

PATH = f"{__name__}.SlowStatement"

# The environment variable with the folder of the files `asked` and `answer`.
FOLDER = "SLOW_STATEMENT_FOLDER"


class SlowStatement(SimulatedGateway):
    """The simulated gateway, which waits for the file `answer` before it returns a statement."""

    def statement(self, since: datetime, until: datetime) -> Iterator[Movement]:
        """Note that the statement was asked for, wait, and return it."""
        folder = Path(os.environ[FOLDER])
        (folder / "asked").touch()
        while not (folder / "answer").exists():
            time.sleep(0.02)
        return super().statement(since, until)
