"""The texts that people read, in the source of a Python file or of a Markdown document."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Text", "markdown_texts", "python_texts"]

LOG_METHODS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})

# A literal that is a sentence: a capital letter or a value, three words or more, a full stop.
SENTENCE = re.compile(r"[A-Z{`][^\n]+ [^\n]+ [^\n]+[.!]")

CODE_BLOCK = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
TAG_OR_LINK = re.compile(r"<[^>]+>|!?\[([^]]*)\]\([^)]*\)")
NEW_BLOCK = re.compile(r"\s*(?:[-*|>#]|\d+\.) ?")


@dataclass(frozen=True, kw_only=True)
class Text:
    """A text, the line on which it begins, and whether its sentences must be short."""

    line: int
    text: str
    is_limited: bool = True


def python_texts(source: str) -> Iterator[Text]:
    """Return docstrings, log messages, other literals that are sentences, and comments."""
    nodes = list(ast.walk(ast.parse(source)))
    docstrings = [node for node in nodes if _docstring(node)]
    messages = [argument for node in nodes for argument in _log_message(node)]
    parts = [part for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values]
    seen = {id(node) for node in (*map(_docstring, docstrings), *messages, *parts)}

    for node in docstrings:
        text = ast.get_docstring(node) or ""  # type: ignore[arg-type]
        yield Text(line=node.body[0].lineno, text=text)  # type: ignore[attr-defined]
    for message in messages:
        yield Text(line=message.lineno, text=_literal(message))
    for node in nodes:
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in seen:
            text = _literal(node)
            if SENTENCE.fullmatch(text):
                yield Text(line=node.lineno, text=text)

    yield from _comments(source)


def markdown_texts(source: str) -> Iterator[Text]:
    """Return each paragraph, heading, item and row of a table, without the blocks of code."""
    prose = CODE_BLOCK.sub(lambda block: "\n" * block[0].count("\n"), source)
    prose = TAG_OR_LINK.sub(lambda link: link[1] or "", prose)
    block = list[str]()
    first = 1

    for number, line in enumerate([*prose.split("\n"), ""], start=1):
        begins_block = not line.strip() or NEW_BLOCK.match(line)
        if begins_block and block:
            is_row = block[0].lstrip().startswith("|")
            text = " ".join(NEW_BLOCK.sub("", part, count=1) for part in block)
            yield Text(line=first, text=text.replace("**", ""), is_limited=not is_row)
            block.clear()
        if line.strip() and not line.startswith("    "):
            first = first if block else number
            block.append(line)


def _docstring(node: ast.AST) -> ast.expr | None:
    match node:
        case (
            ast.Module(body=[ast.Expr(value=ast.Constant(value=str())), *_])
            | ast.ClassDef(body=[ast.Expr(value=ast.Constant(value=str())), *_])
            | ast.FunctionDef(body=[ast.Expr(value=ast.Constant(value=str())), *_])
            | ast.AsyncFunctionDef(body=[ast.Expr(value=ast.Constant(value=str())), *_])
        ):
            return node.body[0].value  # type: ignore[attr-defined, no-any-return]
    return None


def _log_message(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="logger"), attr=method), args=[first, *_]
        ):
            return [first] if method in LOG_METHODS else []
    return []


def _literal(node: ast.expr) -> str:
    """Return the text of a string, with one word in the place of each value of an f-string."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_literal(value) for value in values)
    return "value"


def _comments(source: str) -> Iterator[Text]:
    """Return each block of lines that are comments as one text."""
    block = list[str]()
    first, last = 0, -1

    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if block and line != last + 1:
            yield Text(line=first, text=" ".join(block), is_limited=False)
            block.clear()
        first = first if block else line
        block.append(token.string.lstrip("#").strip())
        last = line

    if block:
        yield Text(line=first, text=" ".join(block), is_limited=False)
