"""Every refusal and every undo of a trip."""

import pytest

from sagas.testing import story
from tests.trips.harness import begin, effects
from tests.trips.saga import TRIP
from tests.trips.steps import Asked, CalledOff

pytestmark = pytest.mark.django_db

CALLED_OFF = CalledOff()


def trip():
    """Begin the story of a trip."""
    return story(TRIP, lambda: begin()[0])


def test_a_trip_without_faults_does_every_step_once():
    story = (
        trip()
        .run()
        .expect(
            ended="done",
            done=["trips.book", "trips.pay", "trips.confirm", "trips.travel"],
            undone=[],
            refused=[],
            waiting=[],
            needs_attention=False,
        )
    )

    assert effects(story.saga) == ["trips.book", "trips.pay", "trips.confirm", "trips.travel"]


@pytest.mark.parametrize(
    ("step", "undone"),
    [
        ("trips.book", []),
        ("trips.pay", ["trips.book"]),
        ("trips.confirm", ["trips.pay", "trips.book"]),
    ],
)
def test_a_refusal_undoes_all_earlier_steps_backwards(step, undone):
    trip().when(step).refuses().run().expect(
        ended="cancelled", refused=[step], undone=undone, done=[]
    )


@pytest.mark.parametrize(
    ("step", "undone"),
    [
        ("trips.book", ["trips.book"]),
        ("trips.pay", ["trips.pay", "trips.book"]),
        ("trips.confirm", ["trips.pay", "trips.book"]),
    ],
)
@pytest.mark.parametrize("outcome", ["raises", "retries"])
def test_a_step_that_is_given_up_is_undone_too(step, undone, outcome):
    failing = trip().when(step)
    failed = failing.raises(RuntimeError("boom")) if outcome == "raises" else failing.retries()

    failed.run().expect(ended="cancelled", refused=[step], undone=undone)


@pytest.mark.parametrize("step", ["trips.book", "trips.pay", "trips.confirm", "trips.travel"])
def test_a_step_that_raises_a_few_times_is_done_in_the_end(step):
    trip().when(step).raises(RuntimeError, times=3).run().expect(ended="done", undone=[])


def test_a_step_after_the_pivot_that_always_raises_needs_attention_and_undoes_nothing():
    trip().when("trips.travel").raises(RuntimeError("boom")).run().expect(
        ended=None,
        done=["trips.book", "trips.pay", "trips.confirm"],
        undone=[],
        waiting=["trips.travel"],
        needs_attention=True,
    )


def test_a_step_that_never_knows_its_outcome_is_not_given_up():
    trip().when("trips.pay").unknown().run().expect(
        ended=None, done=["trips.book"], waiting=["trips.pay"], needs_attention=True
    )


def test_a_lost_answer_is_asked_for_again():
    story = trip().when("trips.pay").loses_answer(times=2).run().expect(ended="done")

    assert effects(story.saga).count("trips.pay") == 1


def test_a_step_that_waits_as_agreed_is_no_alarm():
    waiting = trip().when("trips.pay").waits(notice=Asked()).run()
    waiting.expect(ended=None, waiting=["trips.pay"], needs_attention=False)

    assert "trip.asked" in waiting.events


@pytest.mark.parametrize(
    ("reached", "undone"),
    [
        (None, ["trips.book"]),
        ("trips.book", ["trips.pay", "trips.book"]),
        ("trips.pay", ["trips.pay", "trips.book"]),
    ],
)
def test_a_cancel_before_the_pivot_undoes_all_that_the_way_forward_reaches(reached, undone):
    begun = trip()
    if reached:
        begun.run(until=reached)

    begun.cancel(CALLED_OFF).run().expect(ended="cancelled", undone=undone, done=[])


@pytest.mark.parametrize(
    ("reached", "undone"),
    [(None, []), ("trips.book", ["trips.book"]), ("trips.pay", ["trips.pay", "trips.book"])],
)
def test_a_cancel_that_overtakes_the_way_forward_bars_it(reached, undone):
    begun = trip().newest_first()
    if reached:
        begun.run(until=reached)

    begun.cancel(CALLED_OFF).run().expect(ended="cancelled", undone=undone, done=[])

    assert effects(begun.saga).count("trips.confirm") == 0


@pytest.mark.parametrize("reached", ["trips.confirm", "trips.travel"])
def test_a_cancel_after_the_pivot_comes_too_late(reached):
    trip().run(until=reached).cancel(CALLED_OFF).run().expect(ended="done", undone=[])


def test_a_cancel_while_the_answer_to_a_payment_is_lost_undoes_the_payment():
    trip().run(until="trips.book").when("trips.pay").loses_answer(times=None).run(
        attempts=1
    ).cancel(CALLED_OFF).run().expect(ended="cancelled", undone=["trips.pay", "trips.book"])


@pytest.mark.parametrize("undo", ["trips.unbook", "trips.refund", "trips.drop"])
def test_an_undo_that_raises_is_tried_until_it_is_done(undo):
    trip().when("trips.confirm").refuses().when(undo).raises(RuntimeError, times=4).run().expect(
        ended="cancelled", undone=["trips.pay", "trips.book"]
    )


@pytest.mark.parametrize("undo", ["trips.unbook", "trips.refund", "trips.drop"])
def test_an_undo_that_always_raises_needs_attention(undo):
    trip().when("trips.confirm").refuses().when(undo).raises(RuntimeError("boom")).run().expect(
        ended=None, waiting=[undo], needs_attention=True
    )


@pytest.mark.parametrize("refusing", ["trips.book", "trips.pay", "trips.confirm", None])
def test_duplicates_change_nothing(refusing):
    told = trip().with_duplicates()
    if refusing:
        told.when(refusing).refuses()
    told.run().expect(ended="cancelled" if refusing else "done")

    assert len(effects(told.saga)) == len(set(effects(told.saga)))


@pytest.mark.parametrize("seed", range(10))
def test_messages_of_two_ways_back_end_the_trip_in_any_order(seed):
    trip().in_any_order(seed).with_duplicates().run(until="trips.pay").when(
        "trips.confirm"
    ).refuses().cancel(CALLED_OFF).run().expect(
        ended="cancelled", undone=["trips.pay", "trips.book"]
    )
