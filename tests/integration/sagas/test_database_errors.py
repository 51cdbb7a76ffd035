"""The contents of rows stay out of the texts of the database's errors, wherever they are kept."""

import logging
import traceback
from typing import Any

import pytest
from django.db import DataError, IntegrityError, ProgrammingError, connection, transaction

from config.logs import logging_config
from sagas.execution.failures import record_failures
from sagas.observability.database_errors import hide_contents
from tests.trips.harness import PLAN, begin, deliver, row
from tests.trips.steps import behaviour

pytestmark = pytest.mark.django_db(transaction=True)

WORDS = "my wife\nis ill (since May)"
TABLE = "CREATE TEMP TABLE remarks (id int PRIMARY KEY, number int NOT NULL, reason text UNIQUE)"
DEFERRED = "ALTER TABLE remarks ADD UNIQUE (number) DEFERRABLE INITIALLY DEFERRED"


def execute(*statements):
    with connection.cursor() as cursor:
        for statement, params in statements:
            cursor.execute(statement, params)


@pytest.fixture
def remarks():
    execute((TABLE, ()), ("INSERT INTO remarks VALUES (1, 1, %s)", (WORDS,)))
    yield
    connection.close()


def refused(*_):
    """Break a rule with a row that has a person's words."""
    execute(("INSERT INTO remarks VALUES (2, NULL, %s)", (WORDS,)))


def texts(error):
    """Return all that a log, a column or a traceback would have of an error."""
    return "\n".join([str(error), repr(error), *traceback.format_exception(error)])


def assert_hidden(error):
    found = texts(error)
    for word in ("wife", "since May", "DETAIL", "Failing row"):
        assert word not in found


@pytest.mark.parametrize(
    ("statement", "kind", "kept"),
    [
        (
            "INSERT INTO remarks VALUES (2, NULL, %s)",
            IntegrityError,
            'null value in column "number" of relation "remarks"',
        ),
        (
            "INSERT INTO remarks VALUES (2, 2, %s)",
            IntegrityError,
            'unique constraint "remarks_reason_key"',
        ),
        ("SELECT (%s)::int", DataError, 'invalid input syntax for type integer: "…"'),
        ("SELECT (%s)::jsonb", DataError, "invalid input syntax for type json"),
        ("SELECT nothing FROM remarks WHERE reason = %s", ProgrammingError, "does not exist"),
        ("SELECT %s AS 'since May", ProgrammingError, 'unterminated quoted string at or near "…"'),
    ],
)
def test_the_text_of_an_error_keeps_the_rule_and_no_row(remarks, statement, kind, kept):
    with pytest.raises(kind, match=kept) as raised:
        execute((statement, (WORDS,)))
    assert_hidden(raised.value)


@pytest.mark.parametrize("quotes", ['""', "„“", "«»", "»«", "“”"])
def test_a_value_is_hidden_in_the_quotes_of_each_language_of_the_server(remarks, quotes):
    """Postgres translates its messages, with their quotes, by `lc_messages`."""
    opening, closing = quotes
    text = f"ungültige Eingabe: {opening}{WORDS}{closing}"
    message = f"DO $$BEGIN RAISE EXCEPTION USING ERRCODE = '22P02', MESSAGE = '{text}'; END$$"
    with pytest.raises(DataError, match='ungültige Eingabe: "…"') as raised:
        execute((message, ()))
    assert_hidden(raised.value)


def test_an_error_with_an_attribute_like_that_of_a_group_is_no_group():
    error = RuntimeError("x")
    error.exceptions = [None, "no error", 1]  # type: ignore[attr-defined]
    hide_contents(error)
    assert str(error) == "x"


def test_the_errors_of_a_group_are_shortened(remarks):
    with pytest.raises(IntegrityError) as raised, transaction.atomic():
        execute((DEFERRED, ()), ("INSERT INTO remarks VALUES (2, 1, 'x')", ()))
    hide_contents(ExceptionGroup("two", [raised.value, RuntimeError("x")]))
    assert_hidden(raised.value)


def test_a_program_still_finds_all_parts_of_the_error(remarks):
    with pytest.raises(IntegrityError) as raised:
        refused()
    cause: Any = raised.value.__cause__
    diagnosis = cause.diag
    assert diagnosis.column_name == "number"
    assert "wife" in diagnosis.message_detail


def test_an_error_at_the_commit_is_shortened_where_it_is_stored(remarks):
    execute((DEFERRED, ()))
    with pytest.raises(IntegrityError) as raised, transaction.atomic():
        execute(("INSERT INTO remarks VALUES (2, 1, 'x')", ()))
    assert "DETAIL" in str(raised.value)
    hide_contents(RuntimeError("x"))
    hide_contents(raised.value)
    assert_hidden(raised.value)
    assert 'unique constraint "remarks_number_key"' in str(raised.value)


def test_the_log_hides_the_row_of_an_error_at_the_commit(remarks):
    formatter = logging_config(level="INFO", style="json")["formatters"]["structured"]
    execute((DEFERRED, ()))
    try:
        with transaction.atomic():
            execute(("INSERT INTO remarks VALUES (2, 1, 'x')", ()))
    except IntegrityError as error:
        found = (IntegrityError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "", 1, "It failed", (), found)
    line = formatter["()"](formatter["style"]).format(record)
    assert "remarks_number_key" in line
    assert "DETAIL" not in line


def test_the_inbox_and_the_log_have_no_row_of_a_step_that_fails(remarks, caplog, monkeypatch):
    (trip,) = begin()
    monkeypatch.setitem(behaviour, ("trips.book", trip), refused)
    failures = deliver("trips.book", [trip])
    record_failures(PLAN, "trips.book", failures)
    assert 'null value in column "number"' in row(trip, "trips.book").error
    assert "wife" not in row(trip, "trips.book").error
    assert "wife" not in caplog.text
    assert 'null value in column "number"' in caplog.text
