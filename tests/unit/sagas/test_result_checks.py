"""The checks refuse a result that a step reads but cannot have."""

from typing import Annotated, ClassVar

import msgspec
import pytest

from sagas.checks.contexts import check_contexts
from sagas.checks.registration import check_sagas
from sagas.checks.results import check_results
from sagas.definition import handlers
from sagas.definition.events import Event
from sagas.definition.plan import Saga, Step
from sagas.definition.results import From, Read, reads_of
from tests.tours.harness import tour
from tests.tours.steps import TourBegan

__all__ = ["tour"]


class Booked(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "checked.booked"
    room: str
    nights: int = 1


class Room(msgspec.Struct):
    room: str


class Nights(msgspec.Struct):
    nights: str


class Floor(msgspec.Struct):
    floor: int


class Ordered(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "checked.ordered"
    gift: bool = False


class OrderedResults(Ordered, frozen=True, kw_only=True):
    type: ClassVar[str] = "checked.ordered_results"
    results: int = 0


def is_gift(ordered: Ordered) -> bool:
    return ordered.gift


BOOK = Step("trips.book", undo="trips.unbook")
PAY = Step("trips.pay", undo="trips.refund")
CONFIRM = Step("trips.confirm", pivot=True)

FROM_BOOK = From("trips.book")


@pytest.fixture
def check(monkeypatch):
    """Check a saga in which one step reads a field. `trips.book` returns `Booked`."""
    monkeypatch.setattr(Saga, "declared", {})
    monkeypatch.setattr(Saga._registrations, "_origins", {})
    for step in ("book", "unbook", "pay", "refund", "confirm", "drop"):
        known = handlers.definition(f"trips.{step}")
        assert known
        changed = msgspec.structs.replace(known, accepts=handlers.NoContext)
        monkeypatch.setitem(handlers._definitions, known.name, changed)

    def change(step, **values):
        known = handlers.definition(step)
        assert known
        monkeypatch.setitem(handlers._definitions, step, msgspec.structs.replace(known, **values))

    def check(step, annotation, *, steps=(BOOK, PAY, CONFIRM), returns=Booked, started_by=Ordered):
        change("trips.book", returns=returns)
        change(step, accepts=msgspec.defstruct("Reads", [("result", annotation)]))
        saga = Saga("checked", *steps, abort="trips.drop", started_by=started_by)
        assert check_contexts(saga) == []
        found = check_results(saga)
        assert {error.id for error in check_sagas(None)} >= {error.id for error in found}
        return [(error.id, error.msg) for error in found]

    return check


@pytest.mark.parametrize(
    ("step", "annotation"),
    [
        ("trips.pay", Annotated[Booked, FROM_BOOK]),
        ("trips.pay", Annotated[Room, FROM_BOOK]),
        ("trips.pay", Annotated[Room | None, FROM_BOOK]),
        ("trips.confirm", Annotated[Room, FROM_BOOK]),
        ("trips.unbook", Annotated[Room | None, FROM_BOOK]),
        ("trips.refund", Annotated[Room, FROM_BOOK] | None),
        ("trips.drop", Annotated[Room | None, FROM_BOOK]),
    ],
)
def test_a_result_that_an_earlier_step_returns_is_accepted(check, step, annotation):
    assert check(step, annotation) == []


@pytest.mark.parametrize(
    ("step", "annotation", "id_", "says"),
    [
        ("trips.pay", Annotated[Room, From("trips.bok")], "sagas.E082", "'trips.bok'"),
        ("trips.book", Annotated[Room, FROM_BOOK], "sagas.E083", "does not come before"),
        ("trips.pay", Annotated[Floor, FROM_BOOK], "sagas.E085", "'result.floor' as integer"),
        ("trips.pay", Annotated[Floor, FROM_BOOK], "sagas.E085", "returns no such field"),
        ("trips.pay", Annotated[Nights, FROM_BOOK], "sagas.E085", "returns it as integer"),
        ("trips.unbook", Annotated[Room, FROM_BOOK], "sagas.E086", "may be missing"),
        ("trips.refund", Annotated[Room, FROM_BOOK], "sagas.E086", "may be missing"),
        ("trips.drop", Annotated[Room, FROM_BOOK], "sagas.E086", "may be missing"),
        ("trips.pay", Annotated[Room, From("trips.confirm")], "sagas.E083", "'trips.confirm'"),
        ("trips.confirm", Annotated[Room, From("trips.pay")], "sagas.E084", "returns nothing"),
        ("trips.confirm", Annotated[Room, From("trips.refund")], "sagas.E084", "returns nothing"),
    ],
)
def test_a_result_that_a_step_cannot_have_is_an_error(check, step, annotation, id_, says):
    found = dict(check(step, annotation))
    assert id_ in found
    assert says in found[id_]
    assert repr(step) in found[id_]


def test_the_hint_for_a_wait_without_a_result_names_its_expiry(monkeypatch, check):
    reviewed = handlers.definition("trips.review")
    assert reviewed
    silent = msgspec.structs.replace(reviewed, returns=None)
    monkeypatch.setitem(handlers._definitions, "trips.review", silent)
    steps = (CONFIRM, Step("trips.review"), Step("trips.pay"))
    check("trips.pay", Annotated[Room | None, From("trips.review")], steps=steps)
    [error] = check_results(Saga.declared["checked"])
    assert error.id == "sagas.E084"
    assert "wait that expires with a Refusal" in (error.hint or "")


def test_a_result_of_a_step_that_no_saga_has_may_be_missing(check):
    found = check("trips.confirm", Annotated[Room, FROM_BOOK], steps=(PAY, CONFIRM))
    assert [id_ for id_, _ in found] == ["sagas.E086"]


def test_a_result_of_a_conditional_step_may_be_missing(check):
    conditional = msgspec.structs.replace(BOOK, when=is_gift)
    found = check("trips.pay", Annotated[Room, FROM_BOOK], steps=(conditional, PAY, CONFIRM))
    assert [id_ for id_, _ in found] == ["sagas.E086"]


def test_a_result_of_an_optional_step_may_be_missing(check):
    steps = (CONFIRM, Step("trips.book", optional=True), Step("trips.travel"))
    found = check("trips.travel", Annotated[Room, FROM_BOOK], steps=steps)
    assert [id_ for id_, _ in found] == ["sagas.E086"]
    assert check("trips.travel", Annotated[Room | None, FROM_BOOK], steps=steps) == []


def test_a_reader_with_the_condition_of_its_source_always_has_the_result(check):
    both = [msgspec.structs.replace(each, when=is_gift) for each in (BOOK, PAY)]
    assert check("trips.pay", Annotated[Room, FROM_BOOK], steps=(*both, CONFIRM)) == []


def test_a_starting_event_with_a_field_for_results_is_an_error(check):
    found = check("trips.pay", Annotated[Room, FROM_BOOK], started_by=OrderedResults)
    assert [id_ for id_, _ in found] == ["sagas.E087"]


def test_a_renamed_field_is_read_under_its_name_in_the_context():
    fields = [("room", Annotated[Room, FROM_BOOK]), ("name", str)]
    renamed = msgspec.defstruct("Renamed", fields, rename="camel")
    other = msgspec.defstruct("Other", [("my_room", Annotated[Room, FROM_BOOK])], rename="camel")
    assert reads_of(renamed) == (Read("room", "trips.book"),)
    assert reads_of(other) == (Read("myRoom", "trips.book"),)


def test_the_tour_is_sound(tour):
    assert tour.started_by is TourBegan
    assert check_contexts(tour) == check_results(tour) == []
