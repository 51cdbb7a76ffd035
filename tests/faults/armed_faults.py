"""Arm faults in running processes, read which were hit, and resume frozen processes."""

import json
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from sagas.testing.failpoints import ARMED, HITS, THAWED, Action, Fault

__all__ = ["ArmedFaults", "Hit"]


class Hit(NamedTuple):
    """A fault that was hit: the process, and the sagas of its message."""

    pid: int
    sagas: list[UUID]


class ArmedFaults:
    """The faults in the directory that FAILPOINTS names."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in (ARMED, HITS, THAWED):
            (directory / name).mkdir()

    @contextmanager
    def arm(self, faults: Iterable[Fault], *, since: UUID) -> Iterator[None]:
        """Arm faults for the sagas whose ids are newer than `since`. Disarm them at the end."""
        for fault in faults:
            self._forget(fault)
            unseen = self.directory / f"{fault.name}.new"
            unseen.write_text(str(since))
            unseen.rename(
                self.directory / ARMED / fault.name
            )  # renamed as a whole, because a process may read it at any time

        try:
            yield
        finally:
            for fault in faults:
                (self.directory / ARMED / fault.name).unlink(missing_ok=True)

    def hits(self, fault: Fault) -> list[Hit]:
        """Return the records of a fault: none before it is hit, and at most one."""
        records = [
            json.loads(path.read_text()) for path in (self.directory / HITS).glob(f"{fault.name}@*")
        ]
        return [
            Hit(record["pid"], [UUID(saga) for saga in record["sagas"] or ()]) for record in records
        ]

    def is_over(self, fault: Fault) -> bool:
        """Return whether a fault was hit and, if it froze a process, that process has resumed."""
        return (
            (self.directory / THAWED / fault.name).exists()
            if fault.action is Action.FREEZE
            else bool(self.hits(fault))
        )

    def thaw(self, fault: Fault) -> None:
        """Resume the process that a fault froze. A process that died meanwhile counts as resumed,
        because its time limit killed it.
        """
        for hit in self.hits(fault):
            try:
                os.kill(hit.pid, signal.SIGCONT)
            except ProcessLookupError:
                (self.directory / THAWED / fault.name).touch()

    def _forget(self, fault: Fault) -> None:
        for record in (self.directory / HITS).glob(f"{fault.name}@*"):
            record.unlink()
        (self.directory / THAWED / fault.name).unlink(missing_ok=True)
