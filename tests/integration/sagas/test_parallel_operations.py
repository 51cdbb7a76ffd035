"""Operators see the groups of a saga, the audit checks them, and a release too old is named."""

import json
from datetime import timedelta
from io import StringIO
from typing import Annotated

import msgspec
import pytest
from django.core.management import call_command

import sagas
from audit.run import audit
from sagas import From, Parallel, Saga, Step, Wait, wait
from sagas.definition import handlers
from sagas.delivery import admission
from sagas.management.commands.saga import Command
from sagas.operations import heartbeats, upgrade
from sagas.storage.registry import service_names
from sagas.testing import story
from tests.gifts.harness import begin, deliver, facts, gift
from tests.gifts.steps import CalledOff, Done, Engraved, GiftChosen, NotPossible, Wrapped
from tests.trips.models import Cruise

pytestmark = pytest.mark.django_db(databases="__all__")

__all__ = ["gift"]


@pytest.fixture
def told(gift):
    """Return a function that begins the story of a gift."""
    return lambda: story(gift, lambda: begin(gift))


def test_saga_show_names_the_branches_of_each_group(told):
    ended = told().run(until="trips.pick")
    out = StringIO()
    call_command(Command(), "show", str(ended.saga), "--json", stdout=out)
    shown = {
        each["step"]: (each["part"], each["group"]) for each in json.loads(out.getvalue())["steps"]
    }
    assert shown["inventory.wrap"] == shown["payments.engrave"] == ("branch", 1)
    assert shown["payments.rate"] == ("branch", 2)
    assert shown["trips.pick"] == ("action", None)


def test_the_audit_of_a_saga_with_groups_finds_nothing(told):
    told().with_duplicates().run().expect(ended="done")
    told().when("inventory.wrap").refuses().run().expect(ended="cancelled")
    told().newest_first().when("inventory.wrap").refuses().run().expect(ended="cancelled")
    told().run(until="payments.engrave").cancel(CalledOff()).run().expect(ended="cancelled")
    told().when("payments.rate").raises(RuntimeError).run().expect(ended="done")

    report = audit(limit=100)
    assert [violation for verdict in report.verdicts for violation in verdict.shown] == []
    assert report.sagas["cruises"] == {"ended": 5}


def test_the_audit_finds_a_branch_that_the_join_did_not_wait_for(told):
    ended = told().run().expect(ended="done")
    sagas.sql.run("inventory", "DELETE FROM inventory_inbox WHERE saga = %(s)s", {"s": ended.saga})
    found = {
        violation.detail for verdict in audit(limit=100).verdicts for violation in verdict.shown
    }
    assert "cruise: gift.picked did not reach inventory.wrap: it has no inbox row" in found
    missing = "inventory.wrap, which comes first, is missing from the inbox"
    assert f"cruise: trips.send is done, but {missing}" in found


class TestAWaitInAGroup:
    @pytest.fixture
    def reviewed(self, gift) -> Saga:
        wait(
            "inventory.approve",
            answer=Done,
            refusal=NotPossible,
            expires=timedelta(days=1),
            expired=NotPossible(code="late", detail="No answer came."),
        )
        return Saga(
            "reviewed_gift",
            Parallel(
                Wait("inventory.approve"),
                Step("payments.engrave", undo="payments.unengrave"),
            ),
            Step("trips.send", pivot=True),
            abort="trips.discard",
            started_by=GiftChosen,
        )

    @pytest.fixture
    def waiting(self, reviewed):
        return story(reviewed, lambda: begin(reviewed)).run()

    def test_the_agreed_wait_stays_while_the_other_branch_goes_on(self, waiting):
        waiting.expect(ended=None, waiting=["inventory.approve"])
        assert len(facts(waiting.saga, "payments.engrave")) == 1
        assert waiting.tracked.waits_until is not None

        waiting.signals("inventory.approve", Done()).run().expect(ended="done")
        assert waiting.tracked.waits_until is None

    def test_an_expiry_undoes_the_other_branch(self, waiting):
        waiting.expires("inventory.approve").run()
        waiting.expect(ended="cancelled", undone=["payments.engrave"])

    def test_a_cancel_closes_the_wait_and_undoes_the_other_branch(self, waiting):
        waiting.cancel(CalledOff()).run().expect(ended="cancelled")
        assert "payments.engrave" in waiting.record.undone


class ToSendBoth(msgspec.Struct, frozen=True):
    wrapping: Annotated[Wrapped, From("inventory.wrap")]
    engraving: Annotated[Engraved, From("payments.engrave")]


class TestMessagesInFlight:
    @pytest.fixture
    def forked(self, gift):
        with admission.suspended():
            saga = begin(gift)
            deliver("trips.pick", saga)
            yield saga

    def test_a_branch_may_have_sent_its_result_before_the_other_one(self, forked, monkeypatch):
        joins = handlers._definitions["trips.send"]
        both = msgspec.structs.replace(joins, accepts=ToSendBoth)
        monkeypatch.setitem(handlers._definitions, "trips.send", both)
        deliver("inventory.wrap", forked)
        assert upgrade.in_flight().unreadable == []

    def test_a_message_to_a_group_needs_each_branch(self, forked, monkeypatch):
        Cruise.objects.all().delete()
        monkeypatch.delitem(handlers._definitions, "payments.engrave")
        assert [each.step for each in upgrade.in_flight().missing] == ["payments.engrave"]


class TestWorkersThatAreTooOld:
    def hear(self, worker, **fields):
        now = heartbeats._now()
        entry = {"queues": service_names(), "processes": 1, "at": now, "clock": now, **fields}
        heartbeats._redis().hset(heartbeats.KEY, worker, json.dumps(entry))

    @pytest.fixture(autouse=True)
    def _no_workers(self):
        heartbeats._redis().delete(heartbeats.KEY)
        yield
        heartbeats._redis().delete(heartbeats.KEY)

    def test_a_worker_that_cannot_read_groups_is_named_before_sagas_start_with_one(self, gift):
        self.hear("celery@new", steps=handlers.names(), reads_groups=True)
        assert upgrade.lacks([]) == []

        self.hear("celery@old", steps=handlers.names())
        assert {(lack.worker, lack.queue, lack.groups) for lack in upgrade.lacks([])} == {
            ("celery@old", queue, True) for queue in ("trips", "inventory", "payments")
        }
