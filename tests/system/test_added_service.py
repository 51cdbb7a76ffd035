"""A further service is an app, a line in the plan, and a line in the registry, and nothing else."""

import pytest

from services import NAMES
from tests.added_service import MANAGE, PYTEST, copy_of_project, copy_with_step, run_in

pytestmark = [
    pytest.mark.system,
    pytest.mark.faults,
    pytest.mark.timeout(600),
    pytest.mark.skipif("fraud" in NAMES, reason="this is a copy with the step"),
]


def insert(lines, *, before, into):
    """Insert lines into a file, before a text that is in it once."""
    text = into.read_text()
    assert text.count(before) == 1
    into.write_text(text.replace(before, "".join(f"{line}\n" for line in lines) + before))


def lines_with(call, printed):
    return [line for line in printed.splitlines() if line.strip().startswith(f"{call}(")]


@pytest.mark.parametrize("shared", [False, True], ids=["own database", "shared database"])
def test_orders_go_through_the_step_as_the_readme_adds_it(tmp_path, shared):
    project = copy_with_step(tmp_path / "project", shared=shared)

    run_in(project, *MANAGE, "check")
    run_in(project, *MANAGE, "makemigrations", "--check", "--dry-run")
    run_in(project, *PYTEST, "tests/integration/fraud", "tests/added_service/orders_with_fraud.py")


def test_orders_go_through_a_skeleton_after_its_printed_lines_are_added(tmp_path):
    project = copy_of_project(tmp_path / "project")

    printed = run_in(project, *MANAGE, "startservice", "scoring", "--steps", "score,label:unlabel")
    insert(
        lines_with("Step", printed),
        before='    Step("payments.charge",',
        into=project / "orders/saga.py",
    )
    insert(
        lines_with("Service", printed), before="    ]\n)\n", into=project / "services/registry.py"
    )

    written = ("scoring", "tests/integration/scoring")
    run_in(project, ".venv/bin/python", "-m", "ruff", "check", *written)
    run_in(project, ".venv/bin/python", "-m", "ruff", "format", "--check", *written)
    run_in(project, *MANAGE, "check")
    run_in(project, *MANAGE, "makemigrations", "--check", "--dry-run")
    run_in(project, *PYTEST, written[1], "tests/added_service/orders_with_scoring.py")
