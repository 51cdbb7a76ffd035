"""The processes that a run starts to create load."""

import json
import subprocess
import sys
from types import TracebackType
from typing import Any

from tools.benchmarks.database import BenchmarkFailed
from tools.local.rundir import PROJECT
from tools.local.stack import Stack

__all__ = ["ChildProcess"]


class ChildProcess:
    """A module of the benchmark that runs as a program: lines in, lines of JSON out."""

    def __init__(self, stack: Stack, module: str, *arguments: object) -> None:
        """Start the module in the environment of a stack."""
        self._module = module
        self._popen = subprocess.Popen(
            [sys.executable, "-m", f"tools.benchmarks.{module}", *map(str, arguments)],
            cwd=PROJECT,
            env=stack.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "ChildProcess":
        """Return the process."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self.end()

    def end(self) -> None:
        """Kill the process."""
        self._popen.kill()
        self._popen.communicate()

    def send(self, command: str) -> None:
        """Send a command."""
        if self._popen.stdin:
            self._popen.stdin.write(f"{command}\n")
            self._popen.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """Wait for the next answer."""
        line = self._popen.stdout.readline() if self._popen.stdout else ""
        if not line:
            raise BenchmarkFailed(
                f"The process tools.benchmarks.{self._module} ended without an answer. "
                f"Its error is printed above."
            )

        return dict(json.loads(line))

    def request(self, command: str) -> dict[str, Any]:
        """Send a command and wait for the answer."""
        self.send(command)
        return self.receive()
