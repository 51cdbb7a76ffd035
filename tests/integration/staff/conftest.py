from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, transaction

from staff import log
from staff.policy import Shell

GUARDS = ("console_log_only_grows", "console_log_purged", "console_log_chain")


def write(subject, why="Counted."):
    """Add an entry to the log."""
    about: log.About = {"subject": subject, "why": why}
    return log.record(Shell("olga"), "done", "adjust_stock", about, via="command")


def execute(statement, params=None):
    with connection.cursor() as cursor:
        cursor.execute(statement, params)


@contextmanager
def without_guards() -> Iterator[None]:
    """Let a test change the log as the owner of its table can."""
    with transaction.atomic():
        for guard in GUARDS:
            execute(f"ALTER TABLE console_logentry DISABLE TRIGGER {guard}")
        yield
        for guard in GUARDS:
            execute(f"ALTER TABLE console_logentry ENABLE TRIGGER {guard}")


@pytest.fixture
def entries(transactional_db):
    """A log of six entries."""
    return [write(f"SKU-{number}") for number in range(1, 7)]
