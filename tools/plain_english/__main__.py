"""Check the language of code and documents.

    python -m tools.plain_english [PATH ...]      default: every tracked file

The exit status is 1 if there is any finding.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.plain_english.rules import findings

# The tests of the rules hold sentences that break them.
EXEMPT = "tests/unit/tools/test_plain_english.py"


def main(paths: list[str]) -> int:
    """Check the files below some paths, print the findings, and return the exit status."""
    found = [finding for path in _files(paths) for finding in findings(path.read_text(), str(path))]

    for finding in found:
        sys.stdout.write(f"{finding}\n")
    if found:
        sys.stdout.write(f"{len(found)} sentences to rewrite. CONTRIBUTING.md has the rules.\n")
    return 1 if found else 0


def _files(paths: list[str]) -> Iterator[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *paths]
    run = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603

    for name in run.stdout.splitlines():
        path = Path(name)
        is_text = path.suffix in {".py", ".md"} and path.is_file()
        if is_text and "migrations" not in path.parts and name != EXEMPT:
            yield path


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
