"""Every command in docs/api.md, run as typed against the whole system, gives the answer shown."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User

from tests.broker import empty
from tests.processes import ROOT, api, until
from tests.snippets import snippets
from tests.system.harness import QUICK, assert_sound, system

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.slow,
]

DOCUMENT = ROOT / "docs" / "api.md"
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)

# Values that differ between runs. Only their form is compared.
VARYING = [
    re.compile(pattern)
    for pattern in (
        r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z",
        r"http://127\.0\.0\.1:\d+/api/v1/\S*",
        r"/api/v1/(?:orders|returns)/[0-9a-f-]{36}/",
    )
]


class Command(NamedTuple):
    """A block of commands, and the answer that follows it, if any: JSON, a whole HTTP answer, or
    text.
    """

    text: str
    answer: str


def commands() -> Iterator[Command]:
    """Yield the commands of the document in order."""
    blocks = [(found["kind"], found["text"]) for found in BLOCK.finditer(DOCUMENT.read_text())]
    for (kind, text), (next_kind, next_text) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "sh":
            yield Command(text, "" if next_kind == "sh" else next_text)


class Shell:
    """A shell session. Each block sees the variables of the blocks before it."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.variables = {**os.environ, "no_proxy": "*", **variables}
        self.after = folder / "variables"

    def run(self, text: str) -> str:
        """Run a block and return its output. A command that fails ends the block."""
        script = f"set -aeuo pipefail\n{text}\nenv -0 > '{self.after}'"
        done = subprocess.run(
            ["bash", "-c", script],
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        self.variables = dict(
            line.partition("=")[::2] for line in self.after.read_text().split("\0") if line
        )
        return done.stdout


def differences(expected: Any, actual: Any, path: str = "") -> Iterator[str]:
    """Yield the differences between an answer and the answer in the document.

    Ids, times and addresses vary from run to run, so only their form is compared.
    """
    if isinstance(expected, dict) and isinstance(actual, dict) and set(expected) == set(actual):
        for name, value in expected.items():
            yield from differences(value, actual[name], f"{path}.{name}")
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for index, pair in enumerate(zip(expected, actual, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif expected != actual and not has_same_form(expected, actual, path):
        yield f"{path}: {expected!r} in the document, {actual!r} in the answer"


def has_same_form(expected: Any, actual: Any, path: str) -> bool:
    """Return whether two values have the same varying form: an id, a time or an address."""
    if isinstance(expected, str) and isinstance(actual, str):
        return any(pattern.fullmatch(expected) and pattern.fullmatch(actual) for pattern in VARYING)
    return path.endswith(".id") and isinstance(expected, int) and isinstance(actual, int)


def parsed(answer: str) -> Any:
    """Return an answer as data: JSON, or status, headers and JSON of HTTP, or text without varying
    parts.
    """
    if not answer.startswith(("HTTP/", "{", "[")):
        return re.sub("|".join(pattern.pattern for pattern in VARYING), "*", answer.strip())
    if not answer.startswith("HTTP/"):
        return json.loads(answer)
    head, _, body = answer.replace("\r\n", "\n").partition("\n\n")
    status, *headers = head.splitlines()
    named = {
        name.lower(): value for name, _, value in (header.partition(": ") for header in headers)
    }
    return {"status": status.split()[1], "headers": named, "body": json.loads(body)}


def disagreement(command: Command, printed: str) -> str:
    """Return the difference between the output and the document.

    Only the headers that the document shows are compared.
    """
    if not command.answer:
        return ""
    expected, actual = parsed(command.answer), parsed(printed)
    if command.answer.startswith("HTTP/"):
        shown = {*expected["headers"], "idempotency-replayed"}
        actual["headers"] = {
            name: value for name, value in actual["headers"].items() if name in shown
        }
    return "\n".join(differences(expected, actual))


def test_every_command_gives_the_answer_in_the_document(tmp_path):
    empty()
    User.objects.create_superuser("admin", password="correct horse")
    with ExitStack() as stack:
        stack.enter_context(system())
        url, _ = stack.enter_context(api(environ=QUICK))
        shell = Shell(tmp_path, API=f"{url}/api/v1", PASSWORD="correct horse")
        for command in commands():
            follow(shell, command)
        assert_sound()


def test_the_commands_of_the_readme_place_an_order_that_is_fulfilled(tmp_path):
    empty()
    User.objects.create_superuser("admin", password="correct horse")
    (block,) = [found for found in snippets(ROOT, "README.md") if "curl" in found.text]
    *_, last = block.text.strip().splitlines()
    with ExitStack() as stack:
        stack.enter_context(system())
        url, _ = stack.enter_context(api(environ=QUICK))
        shell = Shell(tmp_path, API=f"{url}/api/v1", PASSWORD="correct horse")
        shell.run(block.text)
        until(lambda: '"status":"fulfilled"' in shell.run(last), "the order is fulfilled")
        assert_sound()


def follow(shell, command):
    """Run a block, and repeat it until the system has reached the state that the document shows."""
    wrong = [disagreement(command, shell.run(command.text))]

    def agrees():
        if wrong[-1]:
            wrong.append(disagreement(command, shell.run(command.text)))
        return not wrong[-1]

    with suppress(AssertionError):
        until(agrees, "the answer is the answer in the document")
    assert wrong[-1] == "", command.text


def test_the_comparison_finds_every_difference():
    shown = {"id": "0192f0c1-7c1e-7d3a-8b1c-2f4e6a8c0d12", "status": "paid", "lines": [1]}
    assert not [*differences(shown, shown | {"id": "0192f0c1-9a3b-7f21-9d0e-4c6b8a0e2f56"})]
    others: list[dict[str, Any]] = [
        {"id": "5"},
        {"status": "pending"},
        {"lines": []},
        {"lines": [2]},
        {"more": 1},
    ]
    for other in others:
        assert [*differences(shown, shown | other)]
    assert parsed("id: 0192f0c1-7c1e-7d3a-8b1c-2f4e6a8c0d12\n") == "id: *"
