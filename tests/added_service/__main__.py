"""Write a copy of the project with the README's step, or run the tests of `KNOWING` in one.

python -m tests.added_service FOLDER [--shared]
python -m tests.added_service --test [options of pytest]
"""

import subprocess
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.added_service import KNOWING, PYTEST, copy_with_step

# Those tests start processes, or wait for them. `make faults` sends orders through the step.
WITHOUT = "not faults and not outside and not browser and not package and not system"


def test_copy(options: list[str]) -> int:
    """Run the tests in a copy; return pytest's exit code."""
    with TemporaryDirectory(prefix="with-step-", ignore_cleanup_errors=True) as name:
        project = copy_with_step(Path(name) / "project")
        command = (*PYTEST, "-m", WITHOUT, *KNOWING, *options)
        return subprocess.run(command, cwd=project, check=False).returncode


parser = ArgumentParser(
    "tests.added_service", description=__doc__, formatter_class=RawDescriptionHelpFormatter
)
parser.add_argument("folder", type=Path, nargs="?", help="a folder that does not exist yet")
parser.add_argument("--shared", action="store_true", help="share the database of orders")
parser.add_argument("--test", action="store_true", help="run the tests in a copy, and remove it")
given, further = parser.parse_known_args()

if given.test:
    # pytest has the option's value, such as that of -n, which argparse takes for the folder.
    sys.exit(test_copy([argument for argument in sys.argv[1:] if argument != "--test"]))
if given.folder is None or further:
    parser.error("name a folder, or give --test")
copy_with_step(given.folder, shared=given.shared)
