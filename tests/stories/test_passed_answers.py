"""The answer to a wait is a result: a later step reads it, and only sagas with the wait have it."""

from datetime import timedelta
from typing import Annotated, ClassVar

import msgspec
import pytest

import sagas
from sagas import Delivery, Event, From, Refusal, Saga, Step, Wait, action, undo, wait
from sagas.checks.plans import check_saga
from sagas.checks.results import check_results
from sagas.testing import story
from tests.tours.harness import rows, tour
from tests.tours.steps import TourBegan
from tests.trips.models import Trip

pytestmark = pytest.mark.django_db(databases="__all__")

__all__ = ["tour"]


class Estimated(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "tour.estimated"
    price: int


class NotEstimated(Refusal, frozen=True, kw_only=True):
    type: ClassVar[str] = "tour.not_estimated"


class Ordered(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "tour.ordered"
    price: int | None


class Forgotten(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "tour.forgotten"
    price: int | None


class ToOrder(msgspec.Struct, frozen=True):
    estimate: Annotated[Estimated | None, From("trips.estimate")]


def is_large(began: TourBegan) -> bool:
    return began.price > 100


def order(delivery: Delivery[ToOrder]) -> Ordered:
    estimate = delivery.context.estimate
    return Ordered(price=estimate.price if estimate else None)


def forget(delivery: Delivery[ToOrder]) -> Forgotten:
    estimate = delivery.context.estimate
    return Forgotten(price=estimate.price if estimate else None)


@pytest.fixture
def estimated(tour):
    """Return a saga that waits for an estimate if the tour is large."""
    wait(
        "trips.estimate",
        answer=Estimated,
        refusal=NotEstimated,
        expires=timedelta(days=1),
        expired=NotEstimated(code="expired", detail="The tour was not estimated in a day."),
    )
    action("trips.order", refusal=NotEstimated)(order)
    undo("trips.forget")(forget)
    return Saga(
        "estimated_tour",
        Wait("trips.estimate", when=is_large),
        Step("trips.order", pivot=True),
        abort="trips.forget",
        started_by=TourBegan,
    )


def told(saga, *, price):
    return story(saga, lambda: sagas.start(saga, Trip(), TourBegan(price=price)))


def fact(told, type_):
    (row,) = (row for row in rows(told.saga) if row.type == type_)
    return row.data["price"]


def test_a_step_behind_a_wait_reads_its_answer(estimated):
    large = told(estimated, price=200).run()
    large.expect(ended=None, waiting=["trips.estimate"])
    large.signals("trips.estimate", Estimated(price=190)).run().expect(ended="done")
    assert fact(large, "tour.ordered") == 190


def test_a_saga_without_the_wait_goes_on_at_once_and_has_no_answer(estimated):
    small = told(estimated, price=5).run().expect(ended="done", done=["trips.order"])
    assert fact(small, "tour.ordered") is None


def test_the_answer_of_a_person_travels_back_with_a_refusal(estimated):
    large = told(estimated, price=200).run().signals("trips.estimate", Estimated(price=190))
    large.when("trips.order").refuses().run().expect(ended="cancelled")
    assert fact(large, "tour.forgotten") == 190


def test_the_saga_is_sound_in_both_forms(estimated):
    assert check_saga(estimated) == check_results(estimated) == []
