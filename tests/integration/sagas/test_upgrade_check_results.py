"""`manage.py upgrade_check` and the results that steps pass on: known ones, and later ones."""

from typing import Annotated

import msgspec
import pytest

from sagas import From
from sagas.definition import handlers
from sagas.operations import upgrade
from tests.tours.harness import begin, deliver, tour
from tests.tours.steps import Quote

__all__ = ["tour"]  # a fixture

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


class Priced(msgspec.Struct):
    price: int
    discount: int


class NeedsDiscount(msgspec.Struct):
    quote: Annotated[Priced, From("trips.quote")]


class NeedsSeats(msgspec.Struct):
    quote: Annotated[Quote, From("trips.quote")]
    seats: int


def accept(step, struct):
    definition = handlers._definitions[step]
    handlers._definitions[step] = msgspec.structs.replace(definition, accepts=struct)


def unreadable():
    return {found.step: (found.sagas, found.error) for found in upgrade.in_flight().unreadable}


@pytest.mark.parametrize("done", [(), ("trips.quote",), ("trips.quote", "inventory.assign")])
def test_the_release_that_started_the_sagas_reads_all_of_them(tour, done):
    tours = begin(tour, 100, 200) + begin(tour, 300, insured=True)
    for step in done:
        deliver(step, tours)
    assert unreadable() == {}


def test_a_result_that_is_known_is_read_as_the_step_will_read_it(tour):
    tours = begin(tour, 100, 200)
    deliver("trips.quote", tours)
    accept("trips.depart", NeedsDiscount)
    [(step, (sagas, error))] = unreadable().items()
    assert (step, sagas) == ("trips.depart", 2)
    assert "discount" in error


def test_a_result_that_is_yet_to_come_is_no_finding(tour):
    begin(tour, 100)
    accept("trips.depart", NeedsDiscount)
    assert unreadable() == {}


def test_the_other_fields_are_read_although_a_result_is_yet_to_come(tour):
    begin(tour, 100)
    accept("trips.depart", NeedsSeats)
    assert "seats" in unreadable()["trips.depart"][1]
