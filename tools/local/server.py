"""Base class of the embedded servers: a process, a port, and a readiness check."""

from abc import ABC, abstractmethod
from pathlib import Path

from tools.local.errors import ServerFailed
from tools.local.ports import require_free
from tools.local.processes import Process, poll
from tools.local.rundir import log_tail

__all__ = ["EmbeddedServer"]

START_SECONDS = 60.0  # a crash recovery takes longer than a start


class EmbeddedServer(ABC):
    """A server that keeps its data when it stops."""

    name: str
    port_variable: str
    port: int
    log: Path
    process: Process | None = None

    @abstractmethod
    def prepare(self) -> Process:
        """Prepare the start, clean up after a killed server, and return the process to run."""

    @abstractmethod
    def answers(self) -> bool:
        """Return whether the server answers now."""

    def provision(self) -> None:  # noqa: B027  # optional
        """Create missing contents of the server, after each start."""

    def start(self) -> None:
        """Start the server and wait until it answers; raise PortTaken or ServerFailed."""
        if self.running:
            return

        require_free(self.port, self.port_variable)
        self.process = self.prepare()
        self.process.start()
        self._wait_for_answer(self.process)
        self.provision()

    @property
    def running(self) -> bool:
        """Whether the server's process is up."""
        return self.process is not None and self.process.running

    @property
    def pid(self) -> int | None:
        """The id of the server's main process, or None while it is down."""
        return self.process.pid if self.process else None

    def stop(self) -> None:
        """Shut the server down cleanly."""
        if self.process:
            self.process.stop()

    def kill(self) -> None:
        """Kill all processes of the server with SIGKILL."""
        if self.process:
            self.process.kill()

    def restart(self) -> None:
        """Stop the server cleanly, then start it again."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Suspend the server: it keeps its connections but does not answer."""
        if self.process:
            self.process.freeze()

    def thaw(self) -> None:
        """Resume a frozen server."""
        if self.process:
            self.process.thaw()

    def _wait_for_answer(self, process: Process) -> None:
        for _ in poll(START_SECONDS):
            if self.answers():
                return
            if not process.running:
                break

        process.stop()
        raise ServerFailed(
            f"{self.name} did not start. Its log {self.log} ends with:\n{log_tail(self.log)}"
        )
