"""Copies of the project with a further service: the README's, or a new skeleton.

`python -m tests.added_service FOLDER` writes a copy with the README's. All tests must pass in it.
`make further` runs a part of them there: the tests that know the services, or list them.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from services import VARIABLES
from tests.snippets import Snippet, apply_change, snippets, write_file

__all__ = ["KNOWING", "MANAGE", "PYTEST", "copy_of_project", "copy_with_step", "run_in"]

# Commands for `run_in`.
MANAGE = (".venv/bin/python", "manage.py")
PYTEST = (".venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider")

# The tests that a further service may break, as far as they need no process: they name services,
# steps, queues, tables or rights, or count statements of each service.
KNOWING = (
    "tests/contracts",
    "tests/stories",
    "tests/unit/console",
    "tests/unit/sagas",
    "tests/unit/test_databases.py",
    "tests/unit/test_documents.py",
    "tests/unit/test_growth.py",
    "tests/unit/test_model.py",
    "tests/unit/test_order_saga.py",
    "tests/unit/test_proofs.py",
    "tests/unit/test_schedule.py",
    "tests/unit/test_services.py",
    "tests/unit/test_startservice.py",
    "tests/unit/test_table_of_checks.py",
    "tests/integration/fraud",
    "tests/integration/audit/test_violations.py",
    "tests/integration/console/test_effects.py",
    "tests/integration/console/test_start.py",
    "tests/integration/counts/test_counts.py",
    "tests/integration/orders/test_free_orders.py",
    "tests/integration/orders/test_placing.py",
    "tests/integration/sagas/test_two_kinds.py",
)

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = "README.md"
SECTION = "\n## Add a step\n"

LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", ".run", "__pycache__", ".*_cache", ".hypothesis", "celerybeat-schedule*"
)

# Enough to read the settings.
NO_SERVERS = {
    **{
        variable: f"postgres://127.0.0.1:1/{variable.lower()}"
        for variable in (*VARIABLES.values(), "FRAUD_DATABASE_URL", "SCORING_DATABASE_URL")
    },
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "SECRET_KEY": "for the copy with the step only",
    "DEBUG": "on",
}


def copy_of_project(folder: Path) -> Path:
    """Copy the project as it is, with the environment of this process. Return the folder."""
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT, symlinks=True)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def copy_with_step(folder: Path, *, shared: bool = False) -> Path:
    """Copy the project, and do in the copy what the README says. Return the folder of the copy.

    The step has a database of its own, unless it is `shared`: then the README's other line is in
    the registry.
    """
    copy_of_project(folder)
    for snippet in _steps():
        if snippet.language == "sh":
            run_in(folder, "bash", "-euc", snippet.text)
        elif snippet.language == "diff":
            apply_change(_with_shared_database(snippet) if shared else snippet, folder)
        else:
            write_file(snippet, folder)
    return folder


def run_in(folder: Path, *command: str) -> str:
    """Run a command in a copy; return its output. Fails with the output if the command fails.

    No server answers at the addresses in the environment: a command that needs one starts its own.
    """
    env = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    done = subprocess.run(
        command, cwd=folder, env=env | NO_SERVERS, text=True, capture_output=True, check=False
    )
    output = done.stdout + done.stderr
    assert not done.returncode, f"{' '.join(command)} failed:\n{output[-8000:]}"
    return output


def _steps() -> list[Snippet]:
    """Return the blocks of the section."""
    text = (ROOT / DOCUMENT).read_text()
    begins = text.index(SECTION)
    ends = text.index("\n## ", begins + 1)
    first, last = (text.count("\n", 0, place) for place in (begins, ends))
    return [found for found in snippets(ROOT, DOCUMENT) if first < found.line <= last]


def _with_shared_database(snippet: Snippet) -> Snippet:
    """Return the block with the README's declaration of a service that shares a database."""
    (shared,) = re.findall(r'`(Service\("fraud", database="\w+"\))`', (ROOT / DOCUMENT).read_text())
    text = snippet.text.replace('Service("fraud")', shared)
    return Snippet(snippet.document, snippet.line, snippet.language, text)
