"""The packages of the wheel serve any saga, so their texts never name orders."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings

from tools.plain_english.texts import markdown_texts, python_texts

ROOT = Path(settings.BASE_DIR)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

ORDER = re.compile(r"\borders?\b", re.IGNORECASE)
# The sequence of things, the verb, and SQL. "Orders" as a noun are never the sequence.
SEQUENCE = re.compile(
    r"\bin (?:(?:an|any|no|the|their|this|the same|reverse) )?order\b"
    r"|\bthe order (?:of|in which)\b|\bsame length and order\b"
    r"|\bno order (?:if|to keep)|\bany other order\b|\ban order and a form\b"
    r"|\ban order drawn\b|\breader that orders by\b|\bORDER BY\b",
    re.IGNORECASE,
)
# Inline code, examples of code in docstrings, quoted names of steps, and fields of templates.
CODE = re.compile(r"``.+?``|`[^`]+`|^ {4,}\S.*$|\"[\w.]+\"|%\(\w+\)s|\{\w*\}", re.MULTILINE)

# Arguments whose value is shown, also if it is a single word.
SHOWN = {"description", "help_text", "label", "title", "verbose_name", "verbose_name_plural"}
# Names that are stored or sent, so they stay.
STORED = {("sagas/execution/error_blame.py", "order"), ("sagas/contrib/otel.py", "order-saga")}

TEMPLATE_CODE = re.compile(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}|<(?:script|style).*?</", re.DOTALL)
SHOWN_ATTRIBUTE = re.compile(r"\b(?:aria-label|alt|placeholder|title)=\"([^\"]*)\"")
TAG = re.compile(r"<[^>]*>")


def files(*suffixes: str) -> list[str]:
    return sorted(
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in suffixes and "migrations" not in path.parts
    )


def literals(source: str) -> Iterator[str]:
    """Yield the literals of a Python file that may be shown: of several words, or capitalized."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.keyword(arg=name, value=ast.Constant(value=str(text))) if name in SHOWN:
                yield text
            case ast.Constant(value=str(text)) if (
                re.search(r"\w[ -]\w", text) or text[:1].isupper()
            ):
                yield text


def texts(path: str) -> Iterator[str]:
    source = (ROOT / path).read_text()
    match Path(path).suffix:
        case ".py":
            yield from (text.text for text in python_texts(source))
            yield from literals(source)
        case ".html":
            shown = TEMPLATE_CODE.sub(" ", source)
            yield from SHOWN_ATTRIBUTE.findall(shown)
            yield TAG.sub(" ", shown)
        case ".md":
            yield from (text.text for text in markdown_texts(source))
        case _:
            yield source


def names_orders(text: str) -> bool:
    """Tell whether a text names an order where any saga is meant."""
    if re.match(r"\s*(?:WITH|SELECT|INSERT|UPDATE|DELETE|LOCK)\b", text):
        return False
    prose = " ".join(CODE.sub(" ", text).split())
    return bool(ORDER.search(SEQUENCE.sub(" ", prose)))


@pytest.mark.parametrize("path", files(".py", ".html", ".md", ".js", ".txt"))
def test_a_text_names_sagas_and_no_orders(path):
    found = {text for text in texts(path) if names_orders(text)}
    assert not {text for text in found if (path, text) not in STORED}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_label_of_a_field_names_no_orders(package):
    fields = [
        field for model in apps.get_app_config(package).get_models() for field in model._meta.fields
    ]
    assert not [str(field) for field in fields if names_orders(str(field.verbose_name))]


@pytest.mark.parametrize(
    "text",
    [
        "Order id, or task id.",
        "None of these orders is on hold.",
        "Put an order on hold, in the same order.",
        "The order goes on.",
        "Orders",
    ],
)
def test_a_text_about_an_order_is_found(text):
    assert names_orders(text)


@pytest.mark.parametrize(
    "text",
    [
        "The steps of a saga in order.",
        "They follow in the order of the plan.",
        "In reverse order.",
        "`order` is the column with an index.",
        "SELECT saga FROM rows WHERE saga = ANY(%(orders)s) ORDER BY saga",
        "The ordering of a list.",
    ],
)
def test_a_text_about_a_sequence_passes(text):
    assert not names_orders(text)
