"""The runbook has a row for each table of the databases, with its bound."""

import re
from pathlib import Path

import pytest
from celery import current_app
from celery.beat import PersistentScheduler
from django.apps import apps
from django.conf import settings

from tests.shop import FURTHER

RUNBOOK = (Path(settings.BASE_DIR) / "docs" / "runbook.md").read_text()
SECTION = re.compile(r"^## What grows, and its bound\n(.*?)^## ", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| (.+) \| (.+) \|$", re.MULTILINE)
TASK = re.compile(r"`(\w+\.\w+)`")

# The first word says why no purge is needed.
REASONS = ("Kept", "Few", "Empty", "One")


def rows() -> list[tuple[str, str]]:
    """Return the table's name and the bound of each row."""
    section = SECTION.search(RUNBOOK)
    assert section
    lines = [line for line in section[1].splitlines() if line.startswith("| `")]
    found = ROW.findall(section[1])
    assert len(found) == len(lines), "A row is not `table`, growth, bound."
    return [(table, bound) for table, _, bound in found]


def tables() -> list[str]:
    """Return the tables of all models, except those of the engine's example in the tests."""
    return [
        model._meta.db_table
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed
        and not model.__module__.startswith("tests.")
        and model._meta.app_label not in FURTHER
    ]


@pytest.fixture(scope="module")
def scheduled(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the tasks that beat sends, including the task that Celery adds."""
    file = tmp_path_factory.mktemp("beat") / "schedule"
    scheduler = PersistentScheduler(app=current_app, schedule_filename=str(file), lazy=True)
    scheduler.setup_schedule()
    tasks = {str(entry.task) for entry in scheduler.schedule.values()}
    scheduler.close()
    return tasks


def test_each_table_of_the_databases_has_one_row() -> None:
    assert sorted(table for table, _ in rows()) == sorted(tables())


@pytest.mark.parametrize(("table", "bound"), rows())
def test_a_row_names_a_task_of_beat_or_the_reason_for_none(
    table: str, bound: str, scheduled: set[str]
) -> None:
    named = set(TASK.findall(bound))
    assert named <= scheduled
    assert named or bound.startswith(REASONS)


def test_each_task_that_purges_is_named(scheduled: set[str]) -> None:
    named = {task for _, bound in rows() for task in TASK.findall(bound)}
    assert {task for task in scheduled if "purge" in task or "cleanup" in task} <= named
