"""The result of a step travels with its saga, and each step reads its own saga's results."""

import json

import msgspec
import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

import sagas
from inventory.models import Inbox as InventoryInbox
from inventory.models import Outbox as InventoryOutbox
from sagas.definition import handlers
from sagas.definition.handlers import ManualCompletion, ManualConfirmation, Retry
from sagas.definition.sizes import MOST_BYTES_OF_ROW
from sagas.execution import runner
from sagas.lifecycle import CancelResult
from sagas.operations.manual import mark_done
from sagas.storage import inbox, outbox
from sagas.storage.registry import get_service
from tests.tours.harness import begin, deliver, facts, row_to, rows, tour
from tests.tours.steps import Assigned, CalledOff, Quoted, Refused
from tests.trips.harness import begin as begin_trips
from tests.trips.harness import make_due, walk
from tests.trips.models import Inbox, Outbox, Trip

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

__all__ = ["tour"]

INVENTORY = get_service("inventory")


def replace(monkeypatch, step, handler):
    """Give a step another handler of a batch."""
    known = handlers.definition(step)
    assert known is not None
    monkeypatch.setitem(
        handlers._definitions, step, msgspec.structs.replace(known, handler=handler)
    )


def until(tours, *steps):
    for step in steps:
        assert deliver(step, tours) == []


def test_a_result_reaches_the_later_steps_of_both_services(tour):
    (one,) = begin(tour, 5, insured=True)
    until([one], "trips.quote", "inventory.assign", "inventory.insure", "trips.announce")
    until([one], "trips.depart")

    assert facts(one, "announced") == {"guide": "guide-10", "policy": "policy-10"}
    assert facts(one, "departed") == {"price": 10}
    assert row_to("trips.depart", one).context == {
        "price": 5,
        "insured": True,
        "results": {
            "trips.quote": {"price": 10, "currency": "eur"},
            "inventory.assign": {"guide": "guide-10"},
            "inventory.insure": {"policy": "policy-10"},
        },
    }


def test_the_sagas_of_a_batch_read_their_own_results(tour):
    tours = begin(tour, 1, 2, 3)
    until(tours, "trips.quote", "inventory.assign", "trips.announce")
    assert [facts(each, "announced")["guide"] for each in tours] == [
        "guide-2",
        "guide-4",
        "guide-6",
    ]


def test_a_saga_whose_steps_return_nothing_has_the_messages_of_before():
    (trip,) = begin_trips()
    walk([trip])
    contexts = Outbox.objects.filter(saga=trip).values_list("context", flat=True)
    assert list(contexts) == [{"name": "Ada"}] * 5


def test_a_republished_message_has_the_results_again(tour):
    (one,) = begin(tour, 5)
    until([one], "trips.quote", "inventory.assign")
    InventoryOutbox.objects.filter(saga=one).update(published_at="2026-01-01T00:00:00Z")
    assert outbox.republish(INVENTORY, sagas=[one]) == 1
    (due,) = outbox.claim(INVENTORY, limit=10)
    assert due.message().context["results"]["inventory.assign"] == {"guide": "guide-10"}
    until([one], "inventory.assign", "trips.announce")
    assert facts(one, "announced")["guide"] == "guide-10"


def test_a_waiting_step_keeps_the_results_and_reads_them_when_it_goes_on(tour, monkeypatch):
    (one,) = begin(tour, 5)
    until([one], "trips.quote")
    with monkeypatch.context() as patch:
        replace(patch, "inventory.assign", lambda batch: [Retry(reason="No guide answers.")])
        until([one], "inventory.assign")
    kept = InventoryInbox.objects.get(saga=one, step="inventory.assign")
    assert kept.state == "waiting"
    assert kept.message
    assert kept.message["message"]["context"]["results"]["trips.quote"]["price"] == 10

    InventoryInbox.objects.update(due_at="2026-01-01T00:00:00Z", send_at="2026-01-01T00:00:00Z")
    (due,) = inbox.claim_due(INVENTORY, limit=10)
    runner.run(due.step, due.stored.plan, [due.stored.message])
    assert facts(one, "assigned") == {"guide": "guide-10"}


def test_a_refusal_takes_all_results_back_to_the_undos(tour, monkeypatch):
    (one,) = begin(tour, 5)
    replace(monkeypatch, "trips.announce", lambda batch: [Refused(code="rain", detail="It rains.")])
    until([one], "trips.quote", "inventory.assign", "trips.announce")
    until([one], "inventory.unassign", "trips.withdraw", "trips.leave")

    assert facts(one, "undone inventory.assign") == {
        "applied": True,
        "own": "guide-10",
        "price": 10,
    }
    assert facts(one, "undone trips.quote") == {"applied": True, "own": "eur", "price": 10}
    assert facts(one, "dropped") == {"guide": "guide-10"}


def test_after_a_cancel_an_undo_reads_the_result_of_its_own_action_only(tour):
    (one,) = begin(tour, 5)
    until([one], "trips.quote", "inventory.assign")
    assert sagas.cancel(Trip.objects.get(id=one), CalledOff()) is CancelResult.OURS
    until([one], "inventory.unassign", "trips.withdraw", "trips.leave")

    assert facts(one, "undone inventory.assign") == {
        "applied": True,
        "own": "guide-10",
        "price": None,
    }
    assert facts(one, "undone trips.quote") == {"applied": True, "own": "eur", "price": 10}
    assert facts(one, "dropped") == {"guide": None}


def test_an_undo_of_an_action_that_never_ran_has_no_result(tour):
    (one,) = begin(tour, 5)
    sagas.cancel(Trip.objects.get(id=one), CalledOff())
    until([one], "inventory.unassign", "trips.withdraw")
    assert facts(one, "undone trips.quote") == {"applied": False, "own": None, "price": None}


def test_undos_read_the_results_of_a_batch_in_one_statement(tour):
    tours = begin(tour, 1, 2, 3)
    until(tours, "trips.quote", "inventory.assign")
    for each in tours:
        sagas.cancel(Trip.objects.get(id=each), CalledOff())

    with CaptureQueriesContext(connections["inventory"]) as captured:
        until(tours, "inventory.unassign")
    reads = [query for query in captured.captured_queries if "data::text FROM" in query["sql"]]
    assert [query["sql"].count("inventory_outbox") for query in reads].count(1) == len(reads)
    own = [query for query in reads if "target IS NOT NULL" in query["sql"]]
    assert len(own) == 1
    assert [facts(each, "undone inventory.assign")["own"] for each in tours] == [
        "guide-2",
        "guide-4",
        "guide-6",
    ]


def test_an_undo_that_has_the_result_in_its_message_reads_no_table_for_it(tour, monkeypatch):
    (one,) = begin(tour, 5)
    replace(monkeypatch, "trips.announce", lambda batch: [Refused(code="rain", detail="It rains.")])
    until([one], "trips.quote", "inventory.assign", "trips.announce")
    with CaptureQueriesContext(connections["inventory"]) as captured:
        until([one], "inventory.unassign")
    assert not [each for each in captured.captured_queries if "target IS NOT NULL" in each["sql"]]


def test_another_event_than_the_step_returns_fails_the_step(tour, monkeypatch):
    (one,) = begin(tour, 5)
    replace(monkeypatch, "trips.quote", lambda batch: [Assigned(guide="Eve")])
    (failure,) = deliver("trips.quote", [one])
    assert "registered with returns=Quoted" in failure.error
    assert not Inbox.objects.filter(saga=one).exists()


def test_a_missing_result_keeps_the_saga_waiting_and_undoes_nothing(tour, monkeypatch):
    """As while workers of a release run in which the step returned nothing."""
    (one,) = begin(tour, 5)
    known = handlers.definition("trips.quote")
    assert known is not None
    with monkeypatch.context() as patch:
        earlier = msgspec.structs.replace(known, returns=None)
        patch.setitem(handlers._definitions, "trips.quote", earlier)
        until([one], "trips.quote")

    (failure,) = deliver("inventory.assign", [one])
    assert "inventory.assign cannot read its context" in failure.error
    assert "$.quote" in failure.error
    assert not failure.isolated
    assert not InventoryInbox.objects.filter(saga=one).exists()


def test_a_step_of_an_earlier_release_passes_on_the_results_that_it_does_not_know(
    tour, monkeypatch
):
    (one,) = begin(tour, 5)
    until([one], "trips.quote")
    known = handlers.definition("inventory.assign")
    assert known is not None
    earlier = msgspec.structs.replace(
        known,
        returns=None,
        accepts=handlers.NoContext,
        handler=lambda batch: [Assigned(guide="Eve")],
    )
    with monkeypatch.context() as patch:
        patch.setitem(handlers._definitions, "inventory.assign", earlier)
        until([one], "inventory.assign")

    results = row_to("trips.announce", one).context["results"]
    assert results == {"trips.quote": {"price": 10, "currency": "eur"}}


def test_a_step_that_is_marked_as_done_passes_its_result_on(tour, monkeypatch):
    (one,) = begin(tour, 5)
    known = handlers.definition("trips.quote")
    assert known is not None
    rule = ManualCompletion(record=lambda delivery, word: Quoted(price=7))
    with monkeypatch.context() as patch:
        replace(patch, "trips.quote", lambda batch: [Retry(reason="No answer.")])
        until([one], "trips.quote")
    monkeypatch.setitem(
        handlers._definitions, "trips.quote", msgspec.structs.replace(known, manual=rule)
    )
    monkeypatch.setattr("sagas.operations.manual.request_flush", lambda service: None)
    make_due()
    mark_done("trips.quote", one, ManualConfirmation(by="eve", evidence="a letter"))
    until([one], "inventory.assign")
    assert facts(one, "assigned") == {"guide": "guide-7"}


def test_a_result_counts_for_the_size_of_a_message(tour, monkeypatch):
    (one,) = begin(tour, 5)
    large = "x" * (MOST_BYTES_OF_ROW // 2)
    replace(monkeypatch, "trips.quote", lambda batch: [Quoted(price=1, currency=large)])
    (failure,) = deliver("trips.quote", [one])
    assert "EventTooLarge" in failure.error


def test_results_are_json_that_any_release_passes_on(tour):
    (one,) = begin(tour, 5)
    until([one], "trips.quote")
    sent = json.loads(msgspec.json.encode(row_to("inventory.assign", one).message()))
    assert set(sent) <= {"id", "saga", "started_at", "seq", "context", "headers"}
    assert [row.seq for row in rows(one)] == [0, 1]
