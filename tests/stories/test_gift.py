"""Stories of a saga with parallel groups over three services, on their three databases."""

import pytest

from sagas.testing import story
from tests.gifts.harness import begin, facts, gift
from tests.gifts.steps import CalledOff

pytestmark = pytest.mark.django_db(databases="__all__")

__all__ = ["gift"]

BRANCHES = {"inventory.wrap", "payments.engrave"}
ALL = {"trips.pick", *BRANCHES, "trips.send", "inventory.count", "payments.rate", "trips.archive"}


@pytest.fixture
def told(gift):
    """Return a function that begins the story of a gift."""
    return lambda **chosen: story(gift, lambda: begin(gift, **chosen))


def test_the_step_behind_a_group_runs_once_and_reads_the_result_of_each_branch(told):
    ended = told().with_duplicates().run().expect(ended="done")
    assert set(ended.record.done) == ALL
    [sent] = facts(ended.saga, "trips.send")
    assert sent == {"paper": "paper for Ada", "text": "For Ada"}


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_the_messages_changes_nothing(told, seed):
    ended = told().in_any_order(seed).with_duplicates().run().expect(ended="done")
    assert facts(ended.saga, "trips.send") == [{"paper": "paper for Ada", "text": "For Ada"}]
    assert len(facts(ended.saga, "trips.archive")) == 1


@pytest.mark.parametrize("refusing", sorted(BRANCHES))
def test_a_branch_that_refuses_undoes_the_other_one_and_the_steps_before(told, refusing):
    (other,) = BRANCHES - {refusing}
    ended = told().run(until="trips.pick").newest_first() if refusing < other else told()
    ended.when(refusing).refuses().run()
    ended.expect(ended="cancelled", undone=[other, "trips.pick"], refused=[refusing])


@pytest.mark.parametrize("seed", range(6))
def test_both_branches_may_refuse_at_once_and_each_undo_runs_once(told, seed):
    ended = told().in_any_order(seed).with_duplicates()
    ended.when("inventory.wrap").refuses().when("payments.engrave").refuses()
    ended.run().expect(ended="cancelled", undone=["trips.pick"])
    for step in ("payments.unengrave", "inventory.unwrap", "trips.unpick", "trips.discard"):
        assert len(facts(ended.saga, step)) == 1


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("until", ["trips.pick", *sorted(BRANCHES)])
def test_a_cancel_at_any_time_undoes_the_group(told, until, seed):
    ended = told().in_any_order(seed).run(until=until).cancel(CalledOff()).run()
    ended.expect(ended="cancelled")
    assert not ended.record.left_over()


def test_an_undo_reads_the_result_of_its_branch_from_its_own_service(told):
    ended = told().run(until="inventory.wrap").when("payments.engrave").refuses().run()
    [undone] = facts(ended.saga, "inventory.unwrap")
    assert undone == {"applied": True, "own": "paper for Ada"}


def test_a_branch_that_is_given_up_is_undone_as_well(told):
    ended = told().when("inventory.wrap").raises(RuntimeError).run()
    ended.expect(ended="cancelled", undone=["payments.engrave", "inventory.wrap", "trips.pick"])


@pytest.mark.parametrize(
    ("chosen", "sent"),
    [
        ({"engraved": False}, {"paper": "paper for Ada", "text": None}),
        ({"wrapped": False}, {"paper": None, "text": "For Ada"}),
        ({"wrapped": False, "engraved": False}, {"paper": None, "text": None}),
    ],
)
def test_a_condition_leaves_a_branch_or_the_whole_group_out(told, chosen, sent):
    ended = told(**chosen).run().expect(ended="done")
    assert facts(ended.saga, "trips.send") == [sent]


def test_an_optional_branch_that_is_skipped_has_arrived(told):
    ended = told().when("payments.rate").raises(RuntimeError).run().expect(ended="done")
    assert ended.record.skipped == ["payments.rate"]
    assert len(facts(ended.saga, "trips.archive")) == 1


def test_a_story_shows_that_the_step_waits_for_the_other_branch(told):
    verdicts = [run.verdict for run in told().run().record.runs if run.step == "trips.send"]
    assert verdicts == ["has arrived", "done"]
