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
from tests.system.harness import QUICK, assert_sound, system

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

DOCUMENT = ROOT / "docs" / "api.md"
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)

# Values that differ from run to run: only their form is compared.
VARYING = [
    re.compile(pattern)
    for pattern in (
        r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z",
        r"http://127\.0\.0\.1:\d+/api/v1/\S*",
        r"/api/v1/orders/[0-9a-f-]{36}/",
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
            one.partition("=")[::2] for one in self.after.read_text().split("\0") if one
        )
        return done.stdout


def differences(told: Any, seen: Any, path: str = "") -> Iterator[str]:
    """Yield the differences between an answer and the answer in the document.

    Ids, times and addresses vary from run to run, so only their form is compared.
    """
    if isinstance(told, dict) and isinstance(seen, dict) and set(told) == set(seen):
        for name, value in told.items():
            yield from differences(value, seen[name], f"{path}.{name}")
    elif isinstance(told, list) and isinstance(seen, list) and len(told) == len(seen):
        for index, pair in enumerate(zip(told, seen, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif told != seen and not alike(told, seen, path):
        yield f"{path}: {told!r} in the document, {seen!r} in the answer"


def alike(told: Any, seen: Any, path: str) -> bool:
    """Tell whether two values are of the same varying form: an id, a time, an address."""
    if isinstance(told, str) and isinstance(seen, str):
        return any(pattern.fullmatch(told) and pattern.fullmatch(seen) for pattern in VARYING)
    return path.endswith(".id") and isinstance(told, int) and isinstance(seen, int)


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
    told, seen = parsed(command.answer), parsed(printed)
    if command.answer.startswith("HTTP/"):
        shown = {*told["headers"], "idempotency-replayed"}
        seen["headers"] = {name: value for name, value in seen["headers"].items() if name in shown}
    return "\n".join(differences(told, seen))


def test_every_command_answers_what_the_document_shows(tmp_path):
    empty()
    User.objects.create_superuser("admin", password="correct horse")
    with ExitStack() as stack:
        stack.enter_context(system())
        url, _ = stack.enter_context(api(environ=QUICK))
        shell = Shell(tmp_path, API=f"{url}/api/v1", PASSWORD="correct horse")
        for command in commands():
            follow(shell, command)
        assert_sound()


def follow(shell, command):
    """Run a block, and repeat it until the system has reached the state that the document shows."""
    wrong = [disagreement(command, shell.run(command.text))]

    def agrees():
        if wrong[-1]:
            wrong.append(disagreement(command, shell.run(command.text)))
        return not wrong[-1]

    with suppress(AssertionError):
        until(agrees, "the answer is as shown")
    assert wrong[-1] == "", command.text


def test_the_comparison_finds_what_is_wrong():
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
