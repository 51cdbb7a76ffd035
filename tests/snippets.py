"""The code blocks of the documents, applied to a folder as a reader would apply them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

__all__ = ["Snippet", "apply_change", "snippets", "write_file"]

FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
HEADER = re.compile(r"(?:# |--- )([\w./-]+\.\w+)\n")


@dataclass(frozen=True)
class Snippet:
    """A code block: its document, the line where it begins, its language and its text."""

    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def path(self) -> str:
        """The file that the first line names; empty if it names none."""
        named = HEADER.match(self.text)
        return named[1] if named else ""

    @property
    def body(self) -> str:
        """The text without the line that names the file."""
        return self.text.partition("\n")[2] if self.path else self.text


def snippets(root: Path, document: str) -> Iterator[Snippet]:
    """Yield the code blocks of a document, without their indentation."""
    text = (root / document).read_text()
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Snippet(document, line, found[2], dedent(found[3]))


def write_file(snippet: Snippet, folder: Path) -> None:
    """Write the file that a block shows."""
    target = folder / snippet.path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(snippet.body)


def apply_change(snippet: Snippet, folder: Path) -> None:
    """Change a file as a block with `+` and `-` shows. Its other lines must be in the file once."""
    lines = snippet.body.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if not line.startswith("+"))
    after = "".join(line[1:] for line in lines if not line.startswith("-"))

    target = folder / snippet.path
    text = target.read_text()
    found = text.count(before)
    assert found == 1, f"{snippet}: its lines are {found} times in {snippet.path}"
    target.write_text(text.replace(before, after))
