"""The processes that a run starts, on the stack that it measures."""

import json
import subprocess
import sys
from types import TracebackType
from typing import Any

from tools.benchmarks.books import BenchmarkFailed
from tools.local.rundir import PROJECT
from tools.local.stack import Stack

__all__ = ["Helper"]


class Helper:
    """One of the benchmark's own modules, run as a program: a line in, a line of JSON out."""

    def __init__(self, stack: Stack, module: str, *arguments: object) -> None:
        """Start it in the environment of a stack."""
        self._module = module
        self._popen = subprocess.Popen(
            [sys.executable, "-m", f"tools.benchmarks.{module}", *map(str, arguments)],
            cwd=PROJECT,
            env=stack.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Helper":
        """Hand it out."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it."""
        self.end()

    def end(self) -> None:
        """End it."""
        self._popen.kill()
        self._popen.communicate()

    def tell(self, word: str) -> None:
        """Tell it to do something."""
        if self._popen.stdin:
            self._popen.stdin.write(f"{word}\n")
            self._popen.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Wait for its next answer."""
        line = self._popen.stdout.readline() if self._popen.stdout else ""
        if not line:
            raise BenchmarkFailed(f"tools.benchmarks.{self._module} ended without an answer.")
        return dict(json.loads(line))

    def ask(self, word: str) -> dict[str, Any]:
        """Tell it to do something, and wait for its answer."""
        self.tell(word)
        return self.hear()
