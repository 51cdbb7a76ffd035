"""docs/checks.md lists each check of the code, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path

from django.apps import apps
from django.conf import settings

from config.checks import CONCESSIONS

ROOT = Path(settings.BASE_DIR)
DOCUMENT = (ROOT / "docs" / "checks.md").read_text()
ID = re.compile(r"\"([a-z]+\.[EW]\d{3})\"")
ROW = re.compile(r"^\| `(\w+\.[EW]\d{3})` \|.*?(?:\| `([a-z-]+)` )?\|$", re.MULTILINE)


def ids_in_the_code() -> Iterator[str]:
    for app in apps.get_app_configs():
        if Path(app.path).parent == ROOT:
            for path in Path(app.path).rglob("*.py"):
                yield from ID.findall(path.read_text())


def test_the_page_of_checks_lists_every_check_and_no_other() -> None:
    listed = [row for row, _ in ROW.findall(DOCUMENT)]
    assert sorted(listed) == sorted(set(ids_in_the_code()))


def test_the_page_of_checks_has_the_names_that_allow_insecure_accepts() -> None:
    named = {name: row for row, name in ROW.findall(DOCUMENT) if name}
    assert named == CONCESSIONS
