"""The start decides which steps a saga has: its row and its messages have the same plan."""

import msgspec
import pytest

import sagas
from sagas.definition.plan import Plan, Saga, Step
from tests.tours.harness import begin, deliver, rows, tour
from tests.tours.steps import TourBegan
from tests.trips.models import Outbox, TimelineEvent, Trip

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

__all__ = ["tour"]


def conditional(condition):
    return Saga(
        "conditional_tour",
        Step("trips.quote", undo="trips.withdraw", when=condition),
        Step("trips.announce", pivot=True),
        abort="trips.leave",
        started_by=TourBegan,
    )


@pytest.mark.parametrize("insured", [True, False])
def test_the_stored_plan_is_the_plan_of_the_messages(tour, insured):
    (one,) = begin(tour, 5, insured=insured)
    deliver("trips.quote", [one])

    stored = Trip.objects.get(id=one).plan
    assert ("inventory.insure" in str(stored)) is insured
    assert {row.plan for row in rows(one)} == {msgspec.convert(stored, Plan)}
    assert "when" not in str(stored)


def test_a_batch_has_the_sagas_of_one_plan(tour):
    tours = [*begin(tour, 1, 2, insured=True), *begin(tour, 3)]
    deliver("trips.quote", tours)
    assert [len(rows(each)[1].plan.steps) for each in tours] == [5, 5, 4]


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        (lambda began: began.colour == "red", r"condition of trips\.quote .* raised AttributeErr"),
        (lambda began: began.price, "must return True or False, but returned 5"),
    ],
)
def test_a_condition_that_cannot_answer_starts_nothing(tour, condition, says):
    with pytest.raises(TypeError, match=says):
        sagas.start(conditional(condition), Trip(), TourBegan(price=5))
    assert not Trip.objects.exists()
    assert not Outbox.objects.exists()
    assert not TimelineEvent.objects.exists()


def test_a_condition_is_asked_once_for_the_row_and_the_message(tour):
    asked = []

    def ask(began):
        asked.append(began)
        return len(asked) % 2 == 1

    started = sagas.start(conditional(ask), Trip(), TourBegan(price=5))
    assert len(asked) == 1
    (first,) = rows(started.pk)
    assert first.target == "trips.quote"
    assert msgspec.to_builtins(first.plan) == started.plan
