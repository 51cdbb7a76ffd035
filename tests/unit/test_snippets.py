"""A test runs every code block of the documents, or its commands and names are checked here."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import stripe
from celery.bin.worker import worker
from django.conf import settings
from django.core.management import get_commands, load_command_class

from tests.snippets import Snippet, snippets
from tests.unit.test_documents import CURRENT
from tools.stripe_sandbox.fault_rules import Rule

ROOT = Path(settings.BASE_DIR)
BLOCKS = [found for document in CURRENT for found in snippets(ROOT, document)]
VARIABLES = {
    name
    for file in ("docs/settings.md", "sagas/observability/tracing.py")
    for name in re.findall(r"[A-Z_]{4,}", (ROOT / file).read_text())
}
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

# The documents whose blocks another test runs or compares, by its path.
RUN_ELSEWHERE = {
    "docs/api.md": "tests/system/test_api_document.py",
    "docs/quickstart.md": "tests/package/test_quickstart.py",
    "docs/console.md": "tests/package/test_console.py",
    "docs/how-to.md": "tests/stories/test_how_to.py",
    "docs/reference.md": "tests/unit/tools/test_reference.py",
    "docs/errors.md": "tests/integration/api/test_problem_types.py",
    "docs/testing-a-saga.md": "tests/stories/test_the_page.py",
}
# The modules that get the ARGS of a target.
MODULES = {"bench": "tools.benchmarks", "outage": "tools.benchmarks.outage"}


def of_language(language: str) -> list[Snippet]:
    return [
        found
        for found in BLOCKS
        if found.language == language and not is_run(found) and "curl" not in found.text
    ]


def is_run(found: Snippet) -> bool:
    """Tell whether another test runs the block: of a whole document, or of the README's step."""
    return found.document in RUN_ELSEWHERE or "fraud" in found.text


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of a shell block, without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def check(words: list[str]) -> None:
    """Check one command: that its program, its target and its options exist."""
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]

    match words:
        case ["make", target, *given]:
            check_target(target, given)
        case ["python" | ".venv/bin/python", *arguments]:
            check_python(arguments)
        case ["pip", "install", *arguments]:
            check_installed(arguments)
        case ["export", *assignments]:
            assert {word.partition("=")[0] for word in assignments} <= VARIABLES
        case ["cd", folder]:
            assert (ROOT / folder).is_dir()
        case ["celery", "-A", _, "worker", *options]:
            assert set(options) <= {option for each in worker.params for option in each.opts}
        case _:
            raise AssertionError(f"Nothing checks this command: {shlex.join(words)}")


def check_installed(arguments: list[str]) -> None:
    """Check that pip is given a file of requirements, or the package of this project."""
    *_, last = arguments
    if "-r" in arguments:
        assert (ROOT / last).exists()
    else:
        assert f'name = "{last.partition("[")[0]}"' in (ROOT / "pyproject.toml").read_text()


def check_target(target: str, given: list[str]) -> None:
    assert target in TARGETS
    arguments = [value for word in given for value in shlex.split(word.partition("=")[2])]
    if arguments:
        shows_help(MODULES[target], arguments)


def check_python(arguments: list[str]) -> None:
    match arguments:
        case ["monolith.py", *_]:
            assert (ROOT / "examples/monolith/monolith.py").exists()
        case ["manage.py", command, *rest]:
            app = get_commands()[command]
            assert isinstance(app, str)
            load_command_class(app, command).create_parser("manage.py", command).parse_args(rest)
        case ["-m", "pytest", *rest]:
            paths = [word for word in rest if "/" in word]
            assert paths
            assert not [path for path in paths if not (ROOT / path).exists()]
        case ["-m", "tools.local", "exec", "--", *rest]:
            check(rest)
        case _:
            shows_help(arguments[1], arguments[2:])


def shows_help(module: str, arguments: list[str]) -> None:
    """Let a module read its arguments, and print its help instead of doing its work."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("snippet", of_language("sh"), ids=str)
def test_every_command_of_a_shell_block_exists_and_takes_its_options(snippet):
    for words in commands(snippet.text):
        check(words)


@pytest.mark.parametrize("snippet", of_language("python"), ids=str)
def test_a_python_block_runs_or_is_in_the_file_that_it_names(snippet):
    if not snippet.path:
        exec(compile(snippet.text, str(snippet), "exec"), {"stripe": stripe})
        return

    if "fraud" in (ROOT / snippet.path).read_text():
        pytest.skip("The copy with the README's step has one more line there.")
    written = {ast.dump(node) for node in ast.parse((ROOT / snippet.path).read_text()).body}
    assert {ast.dump(node) for node in ast.parse(snippet.text).body} <= written


def test_the_fault_rule_of_the_sandbox_is_one_that_it_takes():
    (snippet,) = of_language("json")
    rule = msgspec.json.decode(snippet.text, type=Rule)
    assert rule.times == 3


def test_no_block_is_left_unchecked():
    """The curl block of the README is run with the API's page, the sample of doctor by its test."""
    left = {
        (found.document, found.language)
        for found in BLOCKS
        if not is_run(found) and found.language not in {"sh", "python", "json"}
    }
    assert left == {("docs/runbook.md", "text")}
    assert {found.document for found in BLOCKS if "curl" in found.text} == {
        "README.md",
        "docs/api.md",
    }
    assert all((ROOT / test).exists() for test in RUN_ELSEWHERE.values())
