"""What both embedded servers share: a process, a port, and an answer to wait for."""

from abc import ABC, abstractmethod
from pathlib import Path

from tools.local.errors import ServerFailed
from tools.local.ports import demand_free
from tools.local.processes import Process, moments
from tools.local.rundir import last_words

__all__ = ["EmbeddedServer"]

START_SECONDS = 60.0  # a crash recovery takes longer than a start


class EmbeddedServer(ABC):
    """A server whose data survive it."""

    name: str
    port_variable: str
    port: int
    log: Path
    process: Process | None = None

    @abstractmethod
    def prepare(self) -> Process:
        """Make ready what the server needs before it can start, clear what a killed one left;
        return what to run.
        """

    @abstractmethod
    def answers(self) -> bool:
        """Say whether the server serves now."""

    def provision(self) -> None:  # noqa: B027  # there may be nothing to do
        """Make, after each start, what must exist inside the server."""

    def start(self) -> None:
        """Start the server and wait until it answers; raise PortTaken or ServerFailed where it
        cannot.
        """
        if self.running:
            return
        demand_free(self.port, self.port_variable)
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
        """Shut the server down in order."""
        if self.process:
            self.process.stop()

    def kill(self) -> None:
        """Kill the server with SIGKILL, every process of it."""
        if self.process:
            self.process.kill()

    def restart(self) -> None:
        """Stop the server in order, then start it again."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Let the server hang: it keeps its connections and answers nothing."""
        if self.process:
            self.process.freeze()

    def thaw(self) -> None:
        """Let a frozen server go on."""
        if self.process:
            self.process.thaw()

    def _wait_for_answer(self, process: Process) -> None:
        for _ in moments(START_SECONDS):
            if self.answers():
                return
            if not process.running:
                break
        process.stop()
        raise ServerFailed(
            f"{self.name} did not start. Its log, {self.log}, ends:\n{last_words(self.log)}"
        )
