"""Finding what to kill: the living processes of each kind, and none that is not ours."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psutil

from tools.local.stack import Stack

__all__ = ["VICTIMS", "Victims"]

WORKERS = ("worker-orders", "worker-payments", "worker-inventory")


@dataclass(frozen=True)
class Where:
    """Where the processes of a kind are: the programs they belong to, and whether below their
    main process.
    """

    programs: tuple[str, ...]
    children: bool = False


VICTIMS: Mapping[str, Where] = {
    "worker": Where(WORKERS),
    "worker child": Where(WORKERS, children=True),
    "API": Where(("api",)),
    "API worker": Where(("api",), children=True),
    "beat": Where(("beat",)),
    "PostgreSQL": Where(("postgres",)),
    "PostgreSQL process": Where(("postgres",), children=True),
    "Valkey": Where(("valkey",)),
}


class Victims:
    """The processes of a stack that this process supervises."""

    def __init__(self, stack: Stack) -> None:
        """Take the stack."""
        self._stack = stack

    def kill(self, kind: str, *, choice: float) -> str:
        """Kill one process of a kind with SIGKILL; return which, or nothing where none of them
        lives.
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
        where = VICTIMS[kind]
        for program in where.programs:
            main = self._main(program)
            for process in main.children() if main and where.children else [main]:
                if process and _lives(process):
                    yield program, process

    def _main(self, program: str) -> psutil.Process | None:
        """Return a program's main process. Only a child of ours: the number of a dead one may be
        another's by now.
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
