"""A Django project of a stranger, in a temporary folder, and its processes.

These helpers repeat some of `tests.processes` and `tests.snippets`, because `tools.package` copies
only this folder to the place where the tests run.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg

__all__ = ["LIMIT", "Project", "code_blocks", "new_database", "until"]

# Seconds that a test waits for a condition.
LIMIT = 60.0

FENCE = re.compile(
    r"^```python\n# (?P<path>\S+?\.py)(?P<where>, at the end)?\n(?P<code>.*?)^```",
    re.MULTILINE | re.DOTALL,
)

# The addresses of the servers of the tests, and short times.
TEST_SETTINGS = """
import os as _os
from urllib.parse import urlsplit as _urlsplit

_url = _urlsplit(_os.environ["DATABASE_URL"])
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _url.hostname,
        "PORT": _url.port,
        "USER": _url.username,
        "PASSWORD": _url.password,
        "NAME": _url.path[1:],
    }
}
CELERY_BROKER_URL = _os.environ["REDIS_URL"]
SAGAS = {"STALL_SECONDS": 2, "LEASE_SECONDS": 5}
"""


def until(condition: Callable[[], Any], text: str, limit: float = LIMIT) -> Any:
    """Return the first true result of a condition. Raises AssertionError after the limit."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"Not within {limit:.0f} s: {text}")


def code_blocks(document: str) -> dict[str, str]:
    """Return the Python files of a document, by path. A block names its file in its first line."""
    return {match["path"]: match["code"] for match in FENCE.finditer(document)}


def new_database(url: str) -> str:
    """Create an empty database on the server of a URL; return the URL of the database."""
    name = f"host_{uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


class Project:
    """A project in a folder, with a database and a broker of its own."""

    def __init__(self, folder: Path, *, database: str, broker: str) -> None:
        self.folder = folder
        self.database = database
        # No variable of the tests may help the project.
        kept = ("PATH", "HOME", "LANG", "PYTHONPATH", "TMPDIR")
        self.environ = {name: os.environ[name] for name in kept if name in os.environ}
        self.environ |= {"DATABASE_URL": database, "REDIS_URL": broker, "PYTHONUNBUFFERED": "1"}

    def startproject(self, *apps: str) -> None:
        """Create the project and its apps with Django's own commands."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.run("-m", "django", "startproject", "config", ".")
        for app in apps:
            self.run("-m", "django", "startapp", app)

    def write(self, files: Mapping[str, str], *, append: tuple[str, ...] = ()) -> None:
        """Write files. A file in `append` keeps its content."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            before = path.read_text() + "\n" if name in append else ""
            path.write_text(before + text)

    def run(self, *arguments: str, ok: bool = True, **environ: str) -> str:
        """Run Python; return its output. Raises AssertionError if it fails and must not."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        output = done.stdout + done.stderr
        assert not ok or done.returncode == 0, output
        return output

    def manage(self, *arguments: str, ok: bool = True, **environ: str) -> str:
        """Run a management command; return its output."""
        return self.run("manage.py", *arguments, ok=ok, **environ)

    def shell(self, code: str) -> str:
        """Run code in the project; return its output."""
        setup = "import django; django.setup()\n"
        return self.run("-c", setup + code, DJANGO_SETTINGS_MODULE="config.settings").strip()

    def query(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a statement in the project's database."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            cursor = connection.execute(statement, params or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, *params: Any) -> Any:
        """Return the first column of the first row, or None."""
        rows = self.query(statement, *params)
        return rows[0][0] if rows else None

    @contextmanager
    def locked(self, statement: str) -> Iterator[None]:
        """Hold the locks of a statement in a transaction of its own."""
        with psycopg.connect(self.database) as connection:
            connection.execute(statement)
            yield
            connection.rollback()

    @contextmanager
    def worker(self, *options: str, **environ: str) -> Iterator["Worker"]:
        """Run a worker with beat; kill it at the end."""
        command = ("-m", "celery", "-A", "config", "worker", "--beat", "-c", "1")
        with self.process(*command, "-s", str(self.folder / "beat"), *options, **environ) as worker:
            yield worker

    @contextmanager
    def process(self, *command: str, **environ: str) -> Iterator["Worker"]:
        """Run Python with a command in the background; kill it at the end."""
        worker = Worker(self, command, environ)
        try:
            yield worker
        finally:
            worker.kill()


class Worker:
    """A process of the project in a session of its own, with its output in a file."""

    def __init__(self, project: Project, command: tuple[str, ...], environ: dict[str, str]) -> None:
        self.log = project.folder / f"{uuid4().hex[:8]}.log"
        with self.log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, *command],
                cwd=project.folder,
                env=project.environ | environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self) -> str:
        """Return the output so far."""
        return self.log.read_text(errors="replace")

    def wait(self, limit: float = LIMIT) -> int:
        """Wait for the end; return the exit code."""
        return self.popen.wait(limit)

    def kill(self) -> None:
        """Kill the process and its children with SIGKILL."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(LIMIT)
