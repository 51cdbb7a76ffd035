"""`python -m tools.package`: build the wheel and the sdist into `dist/`, and test the wheel.

The tests run in a new virtual environment with the wheel, its dependencies and pytest. Nothing else
of this repository is there, except copies of `tests/package/`, of the examples, of the quickstart
and of the page about the console. The embedded servers of this repository serve them.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.local.servers import private_servers

__all__ = ["build", "main"]

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "dist"

LOCKS = ("requirements.txt", "requirements-dev.txt")
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?(==[^\s;\\]+(?: ; [^\\\n]*)?)", re.MULTILINE)

COPIED = ("tests/package", "examples", "docs/quickstart.md", "docs/console.md")

# The variables that the tests get, beside the addresses of the servers.
KEPT = ("PATH", "HOME", "LANG", "TMPDIR")

TEST_PACKAGES = ("pytest", "pytest-timeout", "pytest-xdist")

INI = """
[pytest]
markers =
    package: the wheel in an environment of its own
timeout = 240
addopts = -ra --strict-markers --import-mode=importlib -n 2 --dist loadfile
pythonpath = .
"""


def build() -> Path:
    """Build sdist and wheel into `dist/`, and return the path of the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(DIST)]
    subprocess.run(command, cwd=ROOT, check=True)
    (wheel,) = DIST.glob("*.whl")
    return wheel


def main(arguments: Sequence[str]) -> int:
    """Build and test the package; return pytest's exit code."""
    wheel = build()
    with tempfile.TemporaryDirectory(prefix="package-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        python = _environment(folder, wheel)
        _copy(folder / "work")

        with private_servers() as servers:
            environ = {key: os.environ[key] for key in KEPT if key in os.environ}
            environ |= {key: servers.env[key] for key in ("DATABASE_URL", "REDIS_URL")}
            done = subprocess.run(
                [python, "-m", "pytest", "tests/package", *arguments],
                cwd=folder / "work",
                env=environ,
                check=False,
            )
    return done.returncode


def _environment(folder: Path, wheel: Path) -> str:
    """Create an environment with the wheel; return its Python. Versions are those of the locks."""
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = str(folder / "venv" / "bin" / "python")
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(_pins()))

    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    packages = [f"{wheel}[binary,console]", *TEST_PACKAGES]
    subprocess.run([*install, "--constraint", str(constraints), *packages], check=True)
    return python


def _pins() -> list[str]:
    """Return the pinned versions of the locks. Without hashes, because the wheel has none."""
    pins: dict[str, None] = {}
    for lock in LOCKS:
        for name, version in PIN.findall((ROOT / lock).read_text()):
            pins[f"{name}{version.strip()}"] = None
    return list(pins)


def _copy(work: Path) -> None:
    for name in COPIED:
        source, target = ROOT / name, work / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    (work / "tests" / "__init__.py").write_text("")
    (work / "pytest.ini").write_text(INI)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
