"""The snippets of docs/testing-a-saga.md run unchanged."""

import re
from pathlib import Path

import pytest
from django.conf import settings

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("steps_of_the_shop"),
]

PAGE = Path(settings.BASE_DIR, "docs/testing-a-saga.md")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets_of_the_page():
    """Return the test functions of the page. Its blocks are one module, in order."""
    module: dict[str, object] = {"__name__": "testing_a_saga"}
    exec(compile("\n".join(BLOCK.findall(PAGE.read_text())), PAGE, "exec"), module)
    return [found for name, found in module.items() if name.startswith("test_")]


@pytest.mark.parametrize("snippet", snippets_of_the_page(), ids=lambda snippet: snippet.__name__)
def test_a_snippet_of_the_page_passes(snippet):
    marks = {mark.name: mark for mark in getattr(snippet, "pytestmark", ())}
    seeds = marks["parametrize"].args[1] if "parametrize" in marks else []

    for seed in seeds:
        snippet(seed)
    if not seeds:
        snippet()
