"""`manage.py startservice` writes nothing under a name that cannot be a service."""

import pytest
from django.core.management import CommandError, call_command

from sagas.models import BASES, TimelineEvent, TrackedSaga


@pytest.fixture
def folder(settings, tmp_path):
    settings.BASE_DIR = tmp_path
    return tmp_path


@pytest.mark.parametrize(
    ("name", "steps", "says"),
    [
        ("orders", "check", "'orders' is taken"),
        ("json", "check", "'json' is taken"),
        ("Scoring", "check", "'Scoring' is unfit"),
        ("scoring-check", "check", "'scoring-check' is unfit"),
        ("scoring", "", "'' is unfit"),
        ("scoring", "check,", "'' is unfit"),
        ("scoring", "check:un-check", "'un-check' is unfit"),
        ("scoring", "check,check:forget", "Named twice: check"),
        ("scoring", "check:forget,score:forget", "Named twice: forget"),
        ("scoring", "class", "'class' is unfit"),
    ],
)
def test_a_name_that_is_unfit_or_taken_is_refused(folder, name, steps, says):
    with pytest.raises(CommandError, match=says):
        call_command("startservice", name, steps=steps)
    assert not list(folder.iterdir())


def test_the_lines_to_add_are_printed(folder, capsys):
    call_command("startservice", "scoring", steps="check:forget,score", database="default")

    printed = capsys.readouterr().out
    assert '    Step("scoring.check", undo="scoring.forget"),\n' in printed
    assert '    Step("scoring.score", undo="scoring.undo_score"),\n' in printed
    assert '        Service("scoring", database="default"),\n' in printed
    assert 'add "scoring" where it lists "inventory" for mypy and for import-linter' in printed


def test_a_service_has_all_tables_of_the_engine_and_pages_in_the_look_of_the_others(folder):
    call_command("startservice", "scoring", steps="check")

    models = (folder / "scoring/models.py").read_text()
    migration = (folder / "scoring/migrations/0001_initial.py").read_text()
    for base in BASES:
        derived = base not in (TimelineEvent, TrackedSaga)
        assert (f"class {base.__name__}(" in models) is derived
        assert (f"name='{base.__name__}'" in migration) is derived
    look = "from sagas.contrib.unfold import InboxAdmin, OutboxAdmin"
    assert look in (folder / "scoring/admin.py").read_text()
