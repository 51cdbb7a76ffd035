"""The code of docs/quickstart.md runs unchanged: sixty lines, safe against `kill -9`."""

import ast
from typing import Any

import pytest

from tests.package.conftest import QUICKSTART
from tests.package.project import code_blocks, until

pytestmark = pytest.mark.package

MOST_LINES = 60

PLACE = "from shop.services import place; place({amount})"
NEWEST = "SELECT id FROM shop_order ORDER BY created_at DESC LIMIT 1"

WAITING = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%shop_account%'
"""


def place(project, amount):
    project.shell(PLACE.format(amount=amount))
    return project.value(NEWEST)


def status(project, order):
    return project.value("SELECT status FROM shop_order WHERE id = %s", order)


def ended(project, order, expected):
    is_over = "SELECT status = %s AND ended_at IS NOT NULL FROM shop_order WHERE id = %s"
    return lambda: project.value(is_over, expected, order)


def balance(project):
    return project.value("SELECT balance FROM shop_account")


def lines_of(code):
    """Return the number of lines with code: blank lines and comments do not count."""
    nodes: list[Any] = [node for node in ast.walk(ast.parse(code)) if hasattr(node, "lineno")]
    spanned = {line for node in nodes for line in range(node.lineno, node.end_lineno + 1)}
    return sum(bool(code.splitlines()[line - 1].strip()) for line in spanned)


def test_a_stranger_needs_at_most_sixty_lines():
    files = code_blocks(QUICKSTART.read_text())
    counted = {name: lines_of(code) for name, code in files.items()}
    assert sum(counted.values()) <= MOST_LINES, counted


def test_check_finds_nothing_to_mend(project):
    assert "no issues" in project.manage("check")


def test_an_order_is_charged_and_confirmed(project):
    with project.worker():
        order = place(project, 70)
        until(ended(project, order, "confirmed"), "the order is confirmed")
    assert balance(project) == 30


def test_a_refusal_cancels_the_order_and_takes_nothing(project):
    with project.worker():
        order = place(project, 170)
        until(ended(project, order, "cancelled"), "the order is cancelled")
    assert balance(project) == 100


def test_a_worker_killed_in_the_middle_of_a_step_loses_nothing_and_repeats_nothing(project):
    with project.locked("SELECT * FROM shop_account FOR UPDATE"), project.worker() as worker:
        order = place(project, 70)
        until(lambda: project.value(WAITING), "the step waits for the account")
        worker.kill()
    assert status(project, order) == "placed"

    with project.worker():
        until(ended(project, order, "confirmed"), "the order is confirmed after the kill")
    assert balance(project) == 30


def test_the_wheel_brings_the_pytest_plugin_of_the_test_kit(pytestconfig):
    assert pytestconfig.pluginmanager.hasplugin("sagas.testing.plugin")
