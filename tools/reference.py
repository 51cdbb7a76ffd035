"""Writes docs/reference.md from the docstrings of the engine: `make reference`.

It needs the settings of the project, because the modules of the engine need Django's.
"""

import inspect
import os
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import django

__all__ = ["main", "render"]

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "reference.md"

# The public modules.
MODULES = (
    "sagas",
    "sagas.outcomes",
    "sagas.manual",
    "sagas.models",
    "sagas.lifecycle",
    "sagas.queries",
    "sagas.waits",
    "sagas.control",
    "sagas.kinds",
    "sagas.services",
    "sagas.workers",
    "sagas.celery",
    "sagas.testing",
)

HEAD = """# Reference of the engine

Written by `make reference` from the docstrings. All names that are not here may change in any
release.

"""

SETTINGS_HEAD = """## `SAGAS`

The settings of the engine: a dict in Django's settings. Each has a default, and may also stand
alone under the name in the last column. Times are in seconds unless the name says otherwise.

| Name | Default | Stands alone as |
|---|---|---|
"""


def render() -> str:
    """Return the page."""
    return HEAD + "".join(map(_module, MODULES)) + _settings()


def main() -> None:
    """Write the page."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    DOCUMENT.write_text(render())
    sys.stdout.write(f"{DOCUMENT.relative_to(Path.cwd())} is written.\n")


def _module(name: str) -> str:
    module = import_module(name)
    entries = "".join(_entry(getattr(module, public), public) for public in module.__all__)
    return f"## `{name}`\n\n{_first_paragraph(module)}\n\n{entries}"


def _entry(value: Any, name: str) -> str:
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return ""
    text = _indented(inspect.getdoc(value) or "")
    return f"### `{name}{_signature(value)}`\n\n{text}\n\n{_methods(value)}"


def _methods(value: Any) -> str:
    """Return a list of the methods that a class itself defines."""
    if not inspect.isclass(value):
        return ""
    lines = [
        f"- `{name}{_signature(method)}`: {_first_paragraph(method)}\n"
        for name, method in vars(value).items()
        if inspect.isfunction(method) and not name.startswith("_") and method.__doc__
    ]
    return "".join([*lines, "\n"]) if lines else ""


def _signature(value: Any) -> str:
    """Return the names of the parameters. Their types are in the code."""
    if inspect.isclass(value):
        return ""
    parameters = [one for one in inspect.signature(value).parameters.values() if one.name != "self"]
    names = [str(parameter.replace(annotation=inspect.Parameter.empty)) for parameter in parameters]
    stars = [number for number, one in enumerate(parameters) if one.kind is one.KEYWORD_ONLY]
    if stars and not any(one.kind is one.VAR_POSITIONAL for one in parameters):
        names.insert(stars[0], "*")
    return f"({', '.join(names)})"


def _first_paragraph(value: Any) -> str:
    text = (inspect.getdoc(value) or "").split("\n\n", 1)[0]
    return text.replace("\n", " ")


def _indented(text: str) -> str:
    """Return a docstring in which indented code is a block of code."""
    blocks = (
        f"```python\n{inspect.cleandoc(block)}\n```" if block.startswith("    ") else block
        for block in re.split(r"\n\n", text)
    )
    return "\n\n".join(blocks)


def _settings() -> str:
    conf = import_module("sagas.conf")
    rows = (
        f"| `{name}` | `{setting.default!r}` | `{setting.alone}` |\n"
        for name, setting in vars(conf.EngineSettings).items()
        if isinstance(setting, conf.Setting)
    )
    return SETTINGS_HEAD + "".join(rows)


if __name__ == "__main__":
    main()
