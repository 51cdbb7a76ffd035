"""docs/security.md says for each task what a message that is sent again does."""

import re
from pathlib import Path

from celery import current_app
from django.conf import settings

DOCUMENT = Path(settings.BASE_DIR) / "docs" / "security.md"
HEADING = "### Messages sent again, late or in another order"


def test_the_table_lists_every_task_that_a_worker_runs():
    current_app.loader.import_default_modules()
    section = DOCUMENT.read_text().partition(HEADING)[2].partition("###")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    listed = re.findall(r"`([\w.]+)`", "".join(rows))
    assert sorted(listed) == sorted(set(current_app.tasks))


def test_a_task_whose_process_was_lost_is_tried_again_after_a_second():
    """Celery's own pause is three minutes. A failed step would not be counted for that long."""
    current_app.loader.import_default_modules()
    engine = [task for name, task in current_app.tasks.items() if name.startswith("sagas.")]
    assert len(engine) == 10
    assert {task.default_retry_delay for task in engine} == {1}
