"""The log is a hash chain: `manage.py verify_log` finds every change of it."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import IntegrityError
from django.utils import timezone

from console import retention
from staff import chain, tasks
from staff.models import LogCheck, LogEntry, LogHead
from tests.integration.races import at_once, blocked_behind
from tests.integration.staff.conftest import execute, without_guards, write

pytestmark = pytest.mark.django_db(transaction=True)

OLD_INSERT = (
    "INSERT INTO console_logentry (id, who, what, action, run, why, outcome)"
    " VALUES (uuidv7(), 'olga', 'ended', 'retry', gen_random_uuid(), 'It failed.', '1 done.')"
)
OLD = timezone.now() - timedelta(days=900)


def output_of(capsys, *args):
    """Return the exit code and the output of `manage.py verify_log`."""
    try:
        call_command("verify_log", *args)
    except SystemExit as stopped:
        code = stopped.code
    else:
        code = 0
    printed = capsys.readouterr()
    return code, printed.out + printed.err


class TestChain:
    def test_numbers_have_no_gaps_and_each_hash_is_that_of_python(self, entries):
        assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5, 6]
        previous = chain.GENESIS
        for entry in LogEntry.objects.order_by("seq"):
            assert bytes(entry.hash) == chain.entry_hash(previous, entry)
            previous = bytes(entry.hash)

    def test_every_column_is_part_of_the_hash(self, entries):
        entry = LogEntry.objects.get(seq=3)
        columns = {field.attname for field in LogEntry._meta.fields} - {"hash"}
        for column in columns:
            value = getattr(entry, column)
            changed = value + timedelta(seconds=1) if column == "at" else f"{value}1"
            changed = uuid4() if column in {"id", "run", "order_id"} else changed
            setattr(entry, column, changed)
            assert chain.entry_hash(bytes(entries[1].hash), entry) != bytes(entry.hash), column
            setattr(entry, column, value)

    def test_text_that_moves_from_one_column_to_the_next_has_another_hash(self, entries):
        entry = LogEntry.objects.get(seq=3)
        entry.why, entry.outcome = "a,1:b", ""
        first = chain.entry_hash(chain.GENESIS, entry)
        entry.why, entry.outcome = "a", "b"
        assert chain.entry_hash(chain.GENESIS, entry) != first

    def test_any_text_has_the_same_hash_in_python_and_in_the_database(self, entries, capsys):
        write("Grüße 你好 😀\n\t'\"\\", why="x" * 5_000)
        assert output_of(capsys)[0] == 0

    def test_an_entry_of_an_earlier_release_is_in_the_chain(self, entries, capsys):
        execute(OLD_INSERT)
        assert LogEntry.objects.latest("seq").seq == 7
        assert output_of(capsys)[0] == 0

    def test_entries_that_are_added_at_once_follow_each_other(self, entries, capsys):
        at_once([lambda: write("SKU-X") for _ in range(8)])
        assert list(LogEntry.objects.order_by("seq").values_list("seq", flat=True)) == [
            *range(1, 15)
        ]
        assert output_of(capsys)[0] == 0

    def test_an_entry_that_is_rolled_back_leaves_no_gap(self, entries, capsys):
        with transaction.atomic():
            write("SKU-X")
            transaction.set_rollback(True)
        assert write("SKU-Y").seq == 7
        assert output_of(capsys)[0] == 0

    def test_a_second_entry_waits_for_the_commit_of_the_first(self, entries):
        with transaction.atomic():
            write("first")
            second = blocked_behind("default", lambda: write("second"))
            assert LogEntry.objects.get(subject="first").seq == 7
        assert second.result(timeout=60).seq == 8


class TestRefused:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE console_logentry SET why = 'x' WHERE seq = 2",
            "DELETE FROM console_logentry WHERE seq = 1",
        ],
    )
    def test_the_database_refuses_a_change(self, entries, statement):
        with pytest.raises(IntegrityError, match="only grows"):
            execute(statement)

    def test_the_database_refuses_to_empty_the_table(self, entries):
        with transaction.atomic():
            execute("ALTER TABLE console_logentry ENABLE TRIGGER console_log_no_truncate")
            with pytest.raises(IntegrityError, match="only grows"), transaction.atomic():
                execute("TRUNCATE console_logentry")
            transaction.set_rollback(True)


class TestTampering:
    @pytest.mark.parametrize(
        ("change", "found"),
        [
            ("UPDATE console_logentry SET why = 'Stolen.' WHERE seq = 3", "entry 3 "),
            ("UPDATE console_logentry SET who = 'anna' WHERE seq = 6", "entry 6 "),
            ("UPDATE console_logentry SET hash = sha256('x') WHERE seq = 6", "entry 6 "),
            ("DELETE FROM console_logentry WHERE seq = 3", "Missing: 3, before entry 4 "),
            (
                "DELETE FROM console_logentry WHERE seq IN (3, 4)",
                "Missing: 3 to 4, before entry 5 ",
            ),
            ("DELETE FROM console_logentry WHERE seq = 1", "Missing: 1, before entry 2 "),
            ("DELETE FROM console_logentry WHERE seq > 4", "ends at entry 4, its head is entry 6"),
            ("DELETE FROM console_logentry", "ends at entry 0, its head is entry 6"),
            (
                "UPDATE console_logentry SET seq = -seq WHERE seq IN (3, 4);"
                "UPDATE console_logentry SET seq = 7 + seq WHERE seq < 0",
                "entry 3 ",
            ),
            (OLD_INSERT, "entry 0 "),
            (
                "UPDATE console_logentry SET seq = -seq WHERE seq > 3;"
                "UPDATE console_logentry SET seq = 1 - seq WHERE seq < 0;"
                + OLD_INSERT
                + "; UPDATE console_logentry SET seq = 4 WHERE seq = 0",
                "entry 4 ",
            ),
            (
                "DELETE FROM console_logentry WHERE seq < 3;"
                "UPDATE staff_loghead SET begin_seq = 2, begin_hash ="
                " (SELECT hash FROM console_logentry WHERE seq = 3)",
                "the log begins after entry 2",
            ),
            ("DELETE FROM staff_loghead", "head of the log is missing"),
        ],
        ids=[
            "changed",
            "author",
            "hash",
            "removed",
            "several removed",
            "first removed",
            "last removed",
            "all removed",
            "reordered",
            "inserted at the side",
            "inserted between",
            "beginning moved",
            "head removed",
        ],
    )
    def test_a_tampered_log_is_found_and_the_entry_is_named(self, entries, capsys, change, found):
        with without_guards():
            for statement in change.split(";"):
                execute(statement)
        code, text = output_of(capsys)
        assert code == 1
        assert found in text

    def test_an_entry_with_a_hash_that_was_computed_anew_is_found(self, entries, capsys):
        with without_guards():
            execute("UPDATE console_logentry SET why = 'Stolen.' WHERE seq = 3")
            execute(
                "UPDATE console_logentry e SET hash = console_log_hash(p.hash, e)"
                " FROM console_logentry p WHERE p.seq = 2 AND e.seq = 3"
            )
        code, text = output_of(capsys)
        assert (code, "after entry 3" in text) == (1, True)

    def test_a_chain_that_was_computed_anew_is_found_by_a_head_noted_outside(self, entries, capsys):
        head = str(LogHead.objects.get())
        with without_guards():
            execute("UPDATE console_logentry SET why = 'Stolen.' WHERE seq = 6")
            execute(
                "UPDATE console_logentry e SET hash = console_log_hash(p.hash, e)"
                " FROM console_logentry p WHERE p.seq = 5 AND e.seq = 6"
            )
            execute(
                "UPDATE staff_loghead SET hash = (SELECT hash FROM console_logentry WHERE seq = 6)"
            )
        assert output_of(capsys)[0] == 0
        code, text = output_of(capsys, "--expect", head)
        assert code == 1
        assert "entry 6 was expected with another hash" in text

    def test_an_end_that_was_cut_off_with_its_head_is_found_by_a_head_noted_outside(
        self, entries, capsys
    ):
        head = str(LogHead.objects.get())
        with without_guards():
            execute("DELETE FROM console_logentry WHERE seq > 4")
            execute(
                "UPDATE staff_loghead SET seq = 4,"
                " hash = (SELECT hash FROM console_logentry WHERE seq = 4)"
            )
        assert output_of(capsys)[0] == 0
        code, text = output_of(capsys, "--expect", head)
        assert code == 1
        assert "Entry 6 was expected, but it is missing" in text


class TestCommand:
    def test_it_prints_the_head_which_a_later_check_takes(self, entries, capsys):
        code, text = output_of(capsys)
        head = text.split()[-1]
        assert (code, head) == (0, str(LogHead.objects.get()))
        write("SKU-7")
        assert output_of(capsys, "--expect", head)[0] == 0

    def test_an_empty_log_is_intact(self, transactional_db, capsys):
        assert output_of(capsys)[0] == 0

    def test_it_refuses_text_that_is_no_head(self, entries):
        with pytest.raises(CommandError, match="is no head"):
            call_command("verify_log", "--expect", "6:zz")

    def test_it_reads_a_long_log_in_pages(self, entries, capsys, monkeypatch):
        monkeypatch.setattr(chain, "PAGE", 2)
        assert output_of(capsys)[0] == 0
        with without_guards():
            execute("UPDATE console_logentry SET why = 'x' WHERE seq = 5")
        assert "entry 5 " in output_of(capsys)[1]

    def test_a_log_whose_old_entries_were_deleted_is_intact(self, transactional_db, capsys):
        for _ in range(3):
            LogEntry.objects.create(who="olga", what="done", action="retry", at=OLD)
        head = LogHead.objects.get()
        write("SKU-1")
        retention.purge()
        code, text = output_of(capsys, "--expect", str(head))
        assert (code, "entries 4 to 5" in text) == (0, True)


class TestScheduled:
    def test_it_checks_the_log_part_by_part_and_begins_anew(self, entries, monkeypatch):
        monkeypatch.setattr(tasks, "ENTRIES_AT_ONCE", 4)
        assert tasks.verify_log() == 0
        assert LogCheck.objects.get().seq == 4
        assert tasks.verify_log() == 0
        assert LogCheck.objects.get().seq == 0

    def test_a_fault_stays_recorded_until_a_whole_check_has_found_none(self, entries, monkeypatch):
        with without_guards():
            execute("UPDATE console_logentry SET why = 'x' WHERE seq = 5")
        assert tasks.verify_log() > 0
        assert "entry 5 " in LogCheck.objects.get().fault

        with without_guards():
            execute("UPDATE console_logentry SET why = 'Counted.' WHERE seq = 5")
        monkeypatch.setattr(tasks, "ENTRIES_AT_ONCE", 4)
        assert tasks.verify_log() == 0
        assert LogCheck.objects.get().fault
        assert tasks.verify_log() == 0
        assert not LogCheck.objects.get().fault

    def test_an_entry_that_changes_between_two_parts_is_found(self, entries, monkeypatch):
        monkeypatch.setattr(tasks, "ENTRIES_AT_ONCE", 4)
        tasks.verify_log()
        with without_guards():
            execute("UPDATE console_logentry SET hash = sha256('x') WHERE seq = 4")
        assert tasks.verify_log() > 0


@pytest.fixture
def before_the_chain(transactional_db):
    """The tables as the release before the chain leaves them."""
    MigrationExecutor(connection).migrate([("staff", "0001_log")])
    yield
    _migrate_forward()
    execute("ALTER TABLE console_logentry DISABLE TRIGGER console_log_no_truncate")


def _migrate_forward():
    executor = MigrationExecutor(connection)
    executor.migrate([key for key in executor.loader.graph.leaf_nodes() if key[0] == "staff"])


def test_the_migration_chains_the_entries_of_earlier_releases_in_their_order(
    before_the_chain, capsys
):
    for _ in range(5):
        execute(OLD_INSERT)
    _migrate_forward()
    by_id = LogEntry.objects.order_by("id").values_list("seq", flat=True)
    assert list(by_id) == [1, 2, 3, 4, 5]
    assert write("SKU-1").seq == 6
    assert output_of(capsys)[0] == 0
