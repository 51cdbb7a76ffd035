"""The run directory, `.run/`: the servers' data, secrets, logs, and who is using it. Standard
library only.
"""

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

__all__ = ["PROJECT", "RunDir", "last_words"]

PROJECT = Path(__file__).resolve().parents[2]


class RunDir:
    """A directory that belongs to one stack at a time and survives it."""

    def __init__(self, path: Path | None = None) -> None:
        """Use `path`, else what RUN_DIR names, else `.run/` in the project."""
        self.path = Path(path or os.environ.get("RUN_DIR") or PROJECT / ".run").absolute()
        self.logs = self.path / "logs"
        self.env_file = self.path / "env"

    def create(self) -> None:
        """Make the directory: everyone may pass through (an unprivileged server must), nobody
        else may look around.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o711)

    def log(self, name: str) -> Path:
        """Return where a program's output goes."""
        return self.logs / f"{name}.log"

    def secret(self, name: str, *, size: int = 24) -> str:
        """Return a password, of so many random bytes, made once and kept."""
        kept = self._read("secrets.json")
        if name not in kept:
            kept[name] = secrets.token_urlsafe(size)
            self._write("secrets.json", json.dumps(kept, indent=2))
        return str(kept[name])

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory; raise StackRunning where another process does. The lock dies with
        its holder.
        """
        self.create()
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackRunning(self._who_runs()) from None
            (self.path / "state.json").unlink(missing_ok=True)  # it tells of a stack that is gone
            yield

    @property
    def in_use(self) -> bool:
        """Whether some process holds the directory."""
        if not self.path.is_dir():
            return False
        try:
            with self.locked():
                return False
        except StackRunning:
            return True

    def write_env(self, env: Mapping[str, str]) -> None:
        """Leave the environment where `manage.py` finds it."""
        self._write("env", "".join(f"{name}={value}\n" for name, value in env.items()))

    def read_env(self) -> dict[str, str]:
        """Return what `write_env` left."""
        lines = self.env_file.read_text().splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Leave word of what is running: the supervisor, its programs and their process ids, the
        API's address.
        """
        self._write("state.json", json.dumps(state, indent=2))

    def read_state(self) -> dict[str, Any]:
        """Return what `write_state` left; nothing where no stack has run."""
        return self._read("state.json")

    def remove(self) -> None:
        """Remove everything, also what lies elsewhere; raise StackRunning while it is in use."""
        if not self.path.is_dir():
            return
        with self.locked():
            for link in filter(Path.is_symlink, self.path.iterdir()):
                shutil.rmtree(link.resolve(), ignore_errors=True)
            shutil.rmtree(self.path)

    def _who_runs(self) -> str:
        state = self.read_state()
        supervisor = f" by process {state['supervisor']}" if "supervisor" in state else ""
        where = f", its API at {state['api']}" if "api" in state else ""
        return f"The stack in {self.path} is up already, held{supervisor}{where}. Use it, or stop it first."

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self.path / name).read_text()))
        except FileNotFoundError:
            return {}

    def _write(self, name: str, text: str) -> None:
        """Replace a file as a whole, readable by its owner alone."""
        self.create()
        unfinished = self.path / f"{name}.{os.getpid()}"
        unfinished.touch(mode=0o600)
        unfinished.write_text(text)
        unfinished.rename(self.path / name)


def last_words(log: Path) -> str:
    """Return the last lines of a log: what a program said before it ended."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-8:])
