"""`python -m tools.supply sbom | advisories`: the packages that production installs.

`sbom` writes a CycloneDX document of the lock. `advisories` looks up the known weaknesses of the
locked packages, for the Python that runs it. It exits with 1 for a weakness that is not accepted,
and with 2 if the package index could not answer. With `--unknown warn`, the second case is printed
and passes.
"""

import argparse
import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

PROJECT = Path(__file__).resolve().parents[2]
LOCK = PROJECT / "requirements.txt"
ACCEPTED = Path(__file__).with_name("accepted.toml")


class Weakness(NamedTuple):
    """A known weakness of a locked package, and the versions that mend it."""

    package: str
    version: str
    id: str
    aliases: Sequence[str]
    fixed_in: Sequence[str]


class Result(NamedTuple):
    """The known weaknesses, and the packages that the index knows nothing about."""

    weaknesses: list[Weakness]
    unknown: list[str]


def sbom(lock: Path, target: Path) -> None:
    """Write the SBOM of a lock as CycloneDX JSON, validated. The same lock gives the same file."""
    command = [
        sys.executable, "-m", "cyclonedx_py", "requirements", str(lock),
        "--pyproject", str(PROJECT / "pyproject.toml"), "--output-reproducible", "--validate",
        "--output-file", str(target),
    ]  # fmt: skip
    subprocess.run(command, check=True)


def look_up(lock: Path) -> Result:
    """Ask the package index for the weaknesses of all packages in a lock, as pip-audit does."""
    command = [
        sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes",
        "--requirement", str(lock), "--format", "json", "--progress-spinner", "off",
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        return read(json.loads(done.stdout))
    except json.JSONDecodeError:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Result([], [f"every package (pip-audit failed: {last})"])


def read(answer: dict[str, Any]) -> Result:
    """Return the weaknesses and the unknown packages of pip-audit's answer."""
    found: list[Weakness] = []
    unknown: list[str] = []
    for package in answer["dependencies"]:
        if "skip_reason" in package:
            unknown.append(package["name"])
        found.extend(
            Weakness(
                package["name"],
                package["version"],
                known["id"],
                known.get("aliases", ()),
                known.get("fix_versions", ()),
            )
            for known in package.get("vulns", ())
        )
    return Result(found, unknown)


def problems(result: Result, accepted: dict[str, date], *, today: date) -> list[str]:
    """Return a line for each weakness that is not accepted, or whose acceptance is over."""
    lines = []
    for weakness in result.weaknesses:
        until = max(
            (accepted[name] for name in (weakness.id, *weakness.aliases) if name in accepted),
            default=None,
        )
        if until is None:
            mended = ", ".join(weakness.fixed_in) or "no version yet"
            advice = f"mended in {mended}: run make lock, or accept it in {ACCEPTED.name}"
        elif until < today:
            advice = f"its acceptance ended on {until}: look at it again"
        else:
            continue
        lines.append(f"{weakness.package} {weakness.version} has {weakness.id}; {advice}")
    return lines


def load_accepted(path: Path) -> dict[str, date]:
    """Return until when each weakness is accepted. Each entry needs an id, a reason and a date."""
    entries = tomllib.loads(path.read_text()).get("accepted", [])
    for entry in entries:
        if not entry.get("reason"):
            raise SystemExit(f"{path.name}: {entry.get('id')} needs a reason.")
    return {entry["id"]: entry["until"] for entry in entries}


def advisories(*, unknown: str) -> int:
    """Print the problems of the locked packages; return the exit code."""
    result = look_up(LOCK)
    lines = problems(result, load_accepted(ACCEPTED), today=date.today())  # noqa: DTZ011  days
    for line in lines:
        print(line, file=sys.stderr)
    if result.unknown:
        names = ", ".join(result.unknown)
        print(
            f"NOT CHECKED: the package index has no advisories for {names}."
            " Run `make advisories` with access to pypi.org.",
            file=sys.stderr,
        )
    if lines:
        return 1
    if result.unknown:
        return 0 if unknown == "warn" else 2
    print("No locked package has a known weakness that is not accepted.")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.supply", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    of_sbom = commands.add_parser("sbom", help="write the SBOM of requirements.txt")
    of_sbom.add_argument("target", type=Path, nargs="?", default=PROJECT / "sbom.json")
    of_advisories = commands.add_parser("advisories", help="look up known weaknesses")
    of_advisories.add_argument("--unknown", choices=("fail", "warn"), default="fail")
    chosen = parser.parse_args(arguments)

    if chosen.command == "sbom":
        sbom(LOCK, chosen.target)
        return 0
    return advisories(unknown=chosen.unknown)


if __name__ == "__main__":
    sys.exit(main())
