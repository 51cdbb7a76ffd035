"""`manage.py upgrade_check`: a release that would strand a saga is refused, with counts."""

import json
from io import StringIO

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.utils import timezone

from sagas import sql
from sagas.definition import handlers
from sagas.definition.handlers import Retry
from sagas.operations import heartbeats
from sagas.storage.registry import service_names
from tests.trips.harness import begin, deliver, walk
from tests.trips.models import Outbox, Trip
from tests.trips.steps import behaviour

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

GOOD, STRANDS = 0, 1


class Report:
    """The exit code of the command, and its lines."""

    def __init__(self, *arguments, before="workers"):
        out = StringIO()
        self.code: object = GOOD
        try:
            call_command("upgrade_check", "--before", before, *map(str, arguments), stdout=out)
        except SystemExit as error:
            self.code = error.code
        self.lines = out.getvalue().splitlines()

    def line(self, start):
        [found] = [line for line in self.lines if line.startswith(start)]
        return found


@pytest.fixture
def forget(monkeypatch):
    """Let this process know no step of a name, as a release that has removed it."""
    return lambda step: monkeypatch.delitem(handlers._definitions, step)


@pytest.fixture
def accept(monkeypatch):
    """Let a step accept another struct, as in another release."""

    def replace(step, **fields):
        struct = msgspec.defstruct("Accepted", list(fields.items()))
        changed = msgspec.structs.replace(handlers._definitions[step], accepts=struct)
        monkeypatch.setitem(handlers._definitions, step, changed)

    return replace


def hear(worker="celery@one", **fields):
    now = heartbeats._now()
    entry = {"queues": service_names(), "processes": 1, "at": now, "clock": now, **fields}
    heartbeats._redis().hset(heartbeats.KEY, worker, json.dumps(entry))


def test_the_release_that_started_the_sagas_strands_none():
    begin(3)
    report = Report()
    assert report.code == GOOD
    assert "3 open sagas and 3 messages were compared." in report.lines[-1]


def test_a_removed_step_is_refused_while_a_saga_needs_it_and_not_after(forget):
    trips = begin(3)
    forget("trips.travel")
    report = Report()
    assert report.code == STRANDS
    assert "trips.travel: 3 open sagas may still run it" in report.line("step")
    Trip.objects.filter(pk__in=trips).update(ended_at=timezone.now())
    Outbox.objects.update(published_at=timezone.now())
    assert Report().code == GOOD


def test_a_step_that_all_open_sagas_have_done_is_needed_no_more(forget):
    trips = begin(2)
    deliver("trips.book", trips)
    Outbox.objects.update(published_at=timezone.now())
    forget("trips.book")
    assert Report().code == GOOD


def test_an_undo_is_needed_until_the_pivot_is_done(forget):
    trips = begin(1)
    for step in ("trips.book", "trips.pay"):
        deliver(step, trips)
    forget("trips.unbook")
    assert "trips.unbook: 1 open sagas" in Report().line("step")
    deliver("trips.confirm", trips)
    assert Report().code == GOOD


def test_a_message_without_a_tracked_saga_counts_too(forget):
    begin(1)
    Trip.objects.all().delete()
    forget("trips.book")
    assert "trips.book: 1 open sagas" in Report().line("step")


def test_a_new_field_without_a_default_is_refused_with_the_step_and_the_count(accept):
    begin(2)
    accept("trips.pay", name=str, currency=str)
    report = Report()
    assert report.code == STRANDS
    line = report.line("context  trips.pay")
    assert "the context of 2 open sagas" in line
    assert "missing required field `currency`" in line


def test_a_changed_type_is_refused(accept):
    begin(1)
    accept("trips.confirm", name=int)
    assert "Expected `int`, got `str`" in Report().line("context  trips.confirm")


def test_the_context_of_a_waiting_step_is_read_too(accept):
    [trip] = begin(1)
    deliver("trips.book", [trip])
    behaviour["trips.pay", trip] = lambda _: Retry("The bank is down.")
    deliver("trips.pay", [trip])
    Trip.objects.all().delete()
    accept("trips.pay", name=str, currency=str)
    assert "the context of 1 open sagas" in Report().line("context  trips.pay")


def test_a_saga_that_ended_is_not_compared(forget, accept):
    trips = begin(2)
    walk(trips)
    Trip.objects.update(ended_at=timezone.now())
    Outbox.objects.update(published_at=timezone.now())
    forget("trips.travel")
    accept("trips.pay", name=int)
    assert Report().code == GOOD


def test_more_sagas_than_a_batch_are_all_counted(forget, monkeypatch):
    monkeypatch.setattr("sagas.operations.upgrade.BATCH", 2)
    begin(5)
    forget("trips.travel")
    assert "trips.travel: 5 open sagas" in Report().line("step")


@pytest.mark.parametrize("table", ["trips_trip", "payments_inbox", "inventory_outbox"])
def test_a_database_that_is_away_is_unknown_and_never_good(monkeypatch, table):
    begin(1)
    fetch = sql.fetch

    def refuse(alias, statement, params):
        if table in statement:
            raise DatabaseError("away")
        return fetch(alias, statement, params)

    monkeypatch.setattr(sql, "fetch", refuse)
    report = Report()
    assert report.code == STRANDS
    assert f"The database of {table.partition('_')[0]} does not answer" in report.line("unknown")


class TestWorkers:
    @pytest.fixture(autouse=True)
    def forgotten(self):
        heartbeats._redis().delete(heartbeats.KEY)
        yield
        heartbeats._redis().delete(heartbeats.KEY)

    def test_live_workers_that_know_all_steps_are_well(self):
        hear(steps=handlers.names())
        assert Report(before="api").code == GOOD

    def test_a_worker_that_lacks_a_step_is_named_with_the_step(self):
        lacking = [name for name in handlers.names() if name != "inventory.ship"]
        hear(steps=handlers.names())
        hear("celery@two", steps=lacking)
        report = Report(before="api")
        assert report.code == STRANDS
        line = report.line("worker")
        assert "celery@two" in line
        assert "lacks 1 steps: inventory.ship. Deploy this worker first" in line

    def test_a_worker_that_does_not_send_its_steps_is_unknown(self):
        hear()
        report = Report(before="api")
        assert report.code == STRANDS
        assert all(line.startswith("unknown") for line in report.lines[:-1])

    def test_a_queue_without_a_worker_is_named(self):
        queues = [name for name in service_names() if name != "inventory"]
        hear(steps=handlers.names(), queues=queues)
        report = Report(before="api")
        assert report.code == STRANDS
        assert "'inventory'" in report.line("worker")

    def test_before_the_workers_the_live_ones_do_not_count(self):
        assert Report(before="workers").code == GOOD

    def test_heartbeats_that_cannot_be_read_are_unknown(self, dead_broker):
        with dead_broker():
            report = Report(before="api")
        assert report.code == STRANDS
        assert "cannot be read from Redis" in report.line("unknown")


class TestBaseline:
    def test_a_release_that_broke_a_reader_is_refused_by_name(self, tmp_path, accept):
        path = tmp_path / "schemas.json"
        call_command("upgrade_check", "--write-baseline", "--baseline", str(path))
        accept("trips.pay", name=str, currency=str)
        report = Report("--baseline", path)
        assert report.code == STRANDS
        assert "trips.pay: it needs the new field 'currency'" in report.line("schema")

    def test_a_break_is_not_written_unless_it_is_accepted(self, tmp_path, accept):
        path = tmp_path / "schemas.json"
        write = ("upgrade_check", "--write-baseline", "--baseline", str(path))
        call_command(*write, stdout=StringIO())
        before = path.read_bytes()
        accept("trips.pay", name=int)
        with pytest.raises(CommandError, match="--accept-breaks"):
            call_command(*write, stdout=StringIO())
        assert path.read_bytes() == before
        call_command(*write, "--accept-breaks", stdout=StringIO())
        assert Report("--baseline", path).code == GOOD

    def test_a_missing_baseline_is_said(self, tmp_path):
        report = Report("--baseline", tmp_path / "none.json")
        assert report.code == GOOD
        assert "There is no baseline" in report.lines[0]

    def test_a_damaged_baseline_is_an_error(self, tmp_path):
        path = tmp_path / "schemas.json"
        path.write_text("{")
        with pytest.raises(CommandError, match="is no baseline"):
            Report("--baseline", path)
