"""Find the live processes of each kind, and kill one. Only processes of this stack are touched."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psutil

from tools.local.programs import WORKERS
from tools.local.stack import Stack

__all__ = ["TARGETS", "ProcessTargets"]


@dataclass(frozen=True)
class Location:
    """The programs that processes of a kind belong to.

    `children` selects the children of the main process instead of the main process itself.
    """

    programs: tuple[str, ...]
    children: bool = False


TARGETS: Mapping[str, Location] = {
    "worker": Location(WORKERS),
    "worker child": Location(WORKERS, children=True),
    "API": Location(("api",)),
    "API worker": Location(("api",), children=True),
    "beat": Location(("beat",)),
    "PostgreSQL": Location(("postgres",)),
    "PostgreSQL process": Location(("postgres",), children=True),
    "Valkey": Location(("valkey",)),
}


class ProcessTargets:
    """The processes of a stack that this process supervises."""

    def __init__(self, stack: Stack) -> None:
        """Find processes of `stack`."""
        self._stack = stack

    def kill(self, kind: str, *, choice: float) -> str:
        """Kill one process of a kind with SIGKILL.

        Return its program and process id, or an empty string if none is alive.
        """
        found = list(self._living(kind))
        if not found:
            return ""

        program, victim = found[int(choice * len(found))]
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            return ""

        return f"{program}, process {victim.pid}"

    def _living(self, kind: str) -> Iterator[tuple[str, psutil.Process]]:
        where = TARGETS[kind]
        for program in where.programs:
            main = self._main(program)
            for process in main.children() if main and where.children else [main]:
                if process and _lives(process):
                    yield program, process

    def _main(self, program: str) -> psutil.Process | None:
        """Return a program's main process, if it is alive and a child of this process.

        The id of a dead process may by now belong to a process of another user.
        """
        pid = self._stack.pid(program)
        try:
            process = psutil.Process(pid) if pid else None
            return (
                process if process and process.ppid() == os.getpid() and _lives(process) else None
            )
        except psutil.NoSuchProcess:
            return None


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
