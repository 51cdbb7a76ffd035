"""After a test that commits, the tables have only the rows that Django itself writes."""

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.db import OperationalError
from psycopg.errors import DeadlockDetected

from inventory.models import StockItem
from tests import emptying

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture
def unknown_baseline(monkeypatch):
    """Begin as in a run of which no test has emptied a table."""
    monkeypatch.setattr(emptying, "_left_by_flush", {})


def stocked():
    return StockItem.objects.create(sku="MUG")


def test_a_row_that_a_process_adds_during_the_flush_does_not_stay(unknown_baseline, monkeypatch):
    def flush_and_add(*arguments, **options):
        call_command(*arguments, **options)
        stocked()

    monkeypatch.setattr(emptying, "call_command", flush_and_add)
    emptying.empty_tables("inventory")
    emptying.empty_tables("inventory")
    assert not StockItem.objects.exists()


def test_the_rows_that_a_flush_writes_stay(unknown_baseline, monkeypatch):
    emptying.empty_tables("default")
    written = set(Permission.objects.values_list("id", flat=True))
    monkeypatch.setattr(emptying, "call_command", None)
    emptying.empty_tables("default")
    assert written
    assert set(Permission.objects.values_list("id", flat=True)) == written


def test_a_changed_row_of_a_flush_is_written_anew(unknown_baseline):
    emptying.empty_tables("default")
    names = set(Group.objects.values_list("name", flat=True))
    Group.objects.all().delete()
    emptying.empty_tables("default")
    assert names
    assert set(Group.objects.values_list("name", flat=True)) == names


def deadlocks(monkeypatch, count):
    """Let the first flushes end with a deadlock, as `flush` reports it."""
    left = [None] * count

    def flush(*arguments, **options):
        if not left:
            return call_command(*arguments, **options)
        left.pop()
        error = OperationalError()
        error.__cause__ = DeadlockDetected()
        raise CommandError from error

    monkeypatch.setattr(emptying, "call_command", flush)


def test_after_a_deadlock_the_tables_are_emptied_again(unknown_baseline, monkeypatch):
    stocked()
    deadlocks(monkeypatch, 4)
    emptying.empty_tables("inventory")
    assert not StockItem.objects.exists()


def test_one_deadlock_after_the_other_is_an_error(unknown_baseline, monkeypatch):
    deadlocks(monkeypatch, 5)
    with pytest.raises(CommandError):
        emptying.empty_tables("inventory")
