"""The run directory, `.run/`: the servers' data, secrets, logs and lock. Standard library only."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.local.errors import StackRunning

__all__ = ["PROJECT", "RunDir", "log_tail"]

PROJECT = Path(__file__).resolve().parents[2]


class RunDir:
    """A directory that one stack at a time uses. It stays when the stack stops."""

    def __init__(self, path: Path | None = None) -> None:
        """Use `path`, else the RUN_DIR variable, else `.run/` in the project."""
        self.path = Path(path or os.environ.get("RUN_DIR") or PROJECT / ".run").absolute()
        self.logs = self.path / "logs"
        self.env_file = self.path / "env"

    def create(self) -> None:
        """Create the directory. Other users may traverse it, as servers must, but not list it."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o711)

    def log(self, name: str) -> Path:
        """Return the path of a program's log."""
        return self.logs / f"{name}.log"

    def secret(self, name: str, *, size: int = 24) -> str:
        """Return a random password of `size` bytes, created on first use and kept."""
        kept = self._read("secrets.json")
        if name not in kept:
            kept[name] = secrets.token_urlsafe(size)
            self._write("secrets.json", json.dumps(kept, indent=2))

        return str(kept[name])

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the directory; raise StackRunning if another process holds the lock.

        The kernel releases the lock when its holder dies.
        """
        self.create()
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackRunning(self._who_runs()) from None

            (self.path / "state.json").unlink(missing_ok=True)  # from a stack that has ended
            yield

    @property
    def in_use(self) -> bool:
        """Whether a process holds the lock of the directory."""
        if not self.path.is_dir():
            return False

        try:
            with self.locked():
                return False
        except StackRunning:
            return True

    def write_env(self, env: Mapping[str, str]) -> None:
        """Write the environment to `env`, where `manage.py` reads it."""
        self._write("env", "".join(f"{name}={value}\n" for name, value in env.items()))

    def read_env(self) -> dict[str, str]:
        """Read the environment that `write_env` wrote."""
        lines = self.env_file.read_text().splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Write the ids of the supervisor and its programs, and the API's address."""
        self._write("state.json", json.dumps(state, indent=2))

    def read_state(self) -> dict[str, Any]:
        """Read the state that `write_state` wrote; empty if no stack has run."""
        return self._read("state.json")

    def remove(self) -> None:
        """Remove the directory and the data its links point to; raise StackRunning if in use."""
        if not self.path.is_dir():
            return

        with self.locked():
            for link in filter(Path.is_symlink, self.path.iterdir()):
                shutil.rmtree(link.resolve(), ignore_errors=True)

            shutil.rmtree(self.path)

    def _who_runs(self) -> str:
        state = self.read_state()
        supervisor = f" as process {state['supervisor']}" if "supervisor" in state else ""
        where = f", with its API at {state['api']}" if "api" in state else ""
        return f"The stack in {self.path} is already running{supervisor}{where}. Stop it first."

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self.path / name).read_text()))
        except FileNotFoundError:
            return {}

    def _write(self, name: str, text: str) -> None:
        """Replace a file atomically. Only its owner can read it."""
        self.create()
        unfinished = self.path / f"{name}.{os.getpid()}"
        unfinished.touch(mode=0o600)
        unfinished.write_text(text)
        unfinished.rename(self.path / name)


def log_tail(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-8:])
