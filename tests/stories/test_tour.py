"""Stories of a saga over two services, whose steps read results and whose insurance is optional."""

import pytest

from sagas.testing import crashes, story
from sagas.testing.crash_points import Crash
from tests.tours.harness import begin, facts, tour
from tests.tours.steps import Assigned, CalledOff, Insured, Quoted, Refused, TourBegan

pytestmark = pytest.mark.django_db(databases="__all__")

__all__ = ["tour"]

ALL = ["trips.quote", "inventory.assign", "inventory.insure", "trips.announce", "trips.depart"]
UNINSURED = [step for step in ALL if step != "inventory.insure"]


@pytest.fixture
def told(tour):
    """Return a function that begins the story of a tour."""
    return lambda **options: story(tour, lambda: begin(tour, 5, **options)[0])


@pytest.mark.parametrize(("insured", "steps"), [(True, ALL), (False, UNINSURED)])
def test_a_tour_has_the_insurance_that_it_wants_and_departs(told, insured, steps):
    ended = told(insured=insured).with_duplicates().run().expect(ended="done", done=steps)
    policy = "policy-10" if insured else None
    assert facts(ended.saga, "announced") == {"guide": "guide-10", "policy": policy}


def test_a_step_that_the_saga_has_not_cannot_be_replaced(told):
    with pytest.raises(ValueError, match=r"step 'inventory\.insure'\. Its condition was false"):
        told().when("inventory.insure")


def test_the_event_that_a_story_gives_travels_on(told):
    ended = told().when("inventory.assign").succeeds(Assigned(guide="Ada")).run()
    assert facts(ended.saga, "announced")["guide"] == "Ada"


def test_a_story_cannot_give_a_step_an_event_that_it_does_not_return(told):
    with pytest.raises(ValueError, match=r"inventory\.assign returns Assigned, not Quoted"):
        told().when("inventory.assign").succeeds(Quoted(price=1))


@pytest.mark.parametrize("insured", [True, False])
@pytest.mark.parametrize("step", UNINSURED[:-1])
def test_a_refusal_undoes_what_this_tour_has_done(told, step, insured):
    steps = ALL if insured else UNINSURED
    undone = steps[: steps.index(step)][::-1]
    told(insured=insured).when(step).refuses().run().expect(ended="cancelled", undone=undone)


def test_an_undo_reads_the_result_of_a_call_whose_saga_is_cancelled(told):
    ended = told(insured=True).run(until="inventory.insure").cancel(CalledOff()).run()
    ended.expect(ended="cancelled", undone=[*ALL[2::-1]])
    assert facts(ended.saga, "undone inventory.insure") == {
        "applied": True,
        "own": "policy-10",
        "price": None,
    }


def test_a_call_that_is_given_up_leaves_no_result_of_its_own(told):
    ended = told(insured=True).when("inventory.insure").raises(RuntimeError).run(attempts=1)
    assert ended.record.waiting == ["inventory.insure"]
    ended.cancel(CalledOff()).run()
    assert facts(ended.saga, "undone inventory.insure")["own"] is None


@pytest.mark.parametrize("seed", range(8))
def test_the_order_of_messages_changes_no_result(told, seed):
    ended = told(insured=True).in_any_order(seed).with_duplicates().run(until="inventory.assign")
    ended.cancel(CalledOff()).run().expect(ended="cancelled")
    assert facts(ended.saga, "undone inventory.assign")["own"] == "guide-10"
    assert facts(ended.saga, "undone trips.quote")["own"] == "eur"


def test_an_answer_that_was_lost_becomes_a_result_later(told):
    ended = told(insured=True).when("inventory.insure").loses_answer(times=2).run()
    ended.expect(ended="done")
    assert facts(ended.saga, "announced")["policy"] == "policy-10"


def test_results_survive_a_step_that_fails_and_waits(told):
    ended = told().when("trips.announce").raises(TimeoutError, times=2).run().expect(ended="done")
    assert facts(ended.saga, "departed") == {"price": 10}


def test_the_crashes_of_a_saga_are_those_of_the_plan_of_its_event(tour):
    def steps(event):
        found: list[Crash] = crashes(tour, event=event)
        return {crash.fault.step for crash in found}

    assert "inventory.insure" in steps(None)
    assert "inventory.insure" in steps(TourBegan(price=1, insured=True))
    assert not {"inventory.insure", "inventory.uninsure"} & steps(TourBegan(price=1))


def test_a_refusal_by_the_pivot_takes_all_results_to_the_abort(told):
    ended = told(insured=True).when("trips.announce").refuses(Refused(code="rain", detail="Rain."))
    ended.run().expect(ended="cancelled")
    assert facts(ended.saga, "dropped") == {"guide": "guide-10"}
    assert facts(ended.saga, "undone inventory.insure")["price"] == 10


def test_an_insurance_of_the_story_is_read(told):
    ended = told(insured=True).when("inventory.insure").succeeds(Insured(policy="gold")).run()
    assert facts(ended.saga, "announced")["policy"] == "gold"
