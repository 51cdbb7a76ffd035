"""Arm faults in running processes, read which were hit, and resume frozen processes."""

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from sagas.failpoints import ARMED, HITS, ONLY, SINCE, THAWED, Action, Fault

__all__ = ["ArmedFaults", "Hit"]


class Hit(NamedTuple):
    """A fault that was hit: the process, the name of its thread, and the sagas of its message."""

    pid: int
    thread: str
    sagas: list[UUID]


class ArmedFaults:
    """The faults in the directory that FAILPOINTS names."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in (ARMED, HITS, THAWED):
            (directory / name).mkdir()

    def arm(self, faults: Sequence[Fault], *, since: UUID) -> AbstractContextManager[None]:
        """Arm faults for the sagas whose ids are newer than `since`. Disarm them at the end.

        The id of a child saga says nothing about its age, so any child counts as newer or older by
        chance. Use `arm_for` where children run.
        """
        return self._armed(faults, f"{SINCE} {since}")

    def arm_for(self, saga: UUID, faults: Sequence[Fault]) -> AbstractContextManager[None]:
        """Arm faults for one saga. Disarm them at the end."""
        return self._armed(faults, f"{ONLY} {saga}")

    @contextmanager
    def _armed(self, faults: Sequence[Fault], rule: str) -> Iterator[None]:
        for fault in faults:
            self._forget(fault)
            unseen = self.directory / f"{fault.name}.new"
            unseen.write_text(rule)
            # A process may read the file at any time, so it appears as a whole.
            unseen.rename(self.directory / ARMED / fault.name)

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
            Hit(record["pid"], record["thread"], [UUID(saga) for saga in record["sagas"] or ()])
            for record in records
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
