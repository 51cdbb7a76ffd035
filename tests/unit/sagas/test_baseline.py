"""The baseline of schemas: a change that a reader cannot follow is found, and named."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from django.conf import settings

from sagas import From
from sagas.checks import baseline
from sagas.checks.baseline import Baseline
from sagas.checks.shapes import Field, Shape, shape_of

NUMBER = Field(("integer",), True)
TEXT = Field(("text",), True)
OPTIONAL = Field(("text",), False)


def release(event: Shape, reader: Shape, undo: Shape | None = None) -> Baseline:
    """Return a release with one saga, its first event, a step and its undo."""
    return Baseline(
        events={"trip.began": event},
        readers={"trips.book": reader, "trips.unbook": undo or {}},
        started_by={"trip": "trip.began"},
        steps={"trip": ["trips.book", "trips.unbook"]},
    )


BEFORE = release({"name": TEXT, "seats": NUMBER}, {"name": TEXT})


def test_this_release_follows_its_baseline():
    """If this fails, correct the change it names. `make schema` writes compatible additions."""
    path = Path(settings.BASE_DIR, "saga_schemas.json")
    found = baseline.breaks(baseline.read(path), baseline.current())
    assert not found, "\n".join(map(str, found))


def test_the_baseline_has_every_step_and_event_of_the_sagas():
    stored = baseline.read(Path(settings.BASE_DIR, "saga_schemas.json"))
    assert {"place_order", "authorize_first"} <= stored.steps.keys()
    for saga, steps in stored.steps.items():
        assert set(steps) <= stored.readers.keys(), saga
    assert stored.started_by["place_order"] in stored.events


@pytest.mark.parametrize(
    ("now", "name", "words"),
    [
        (release({"seats": NUMBER}, {}), "trip.began", "trips.book of the last release needs it"),
        (release({"seats": NUMBER}, {"name": TEXT}), "trip.began", "trips.book needs it"),
        (
            release({"name": TEXT, "seats": TEXT}, {"name": TEXT}),
            "trip.began",
            "'seats' changed from integer to text",
        ),
        (
            release({"name": TEXT, "seats": NUMBER}, {"name": TEXT, "class": TEXT}),
            "trips.book",
            "needs the new field 'class'",
        ),
        (
            release({"name": TEXT, "seats": NUMBER, "class": TEXT}, {"name": TEXT, "class": TEXT}),
            "trips.book",
            "needs the new field 'class'",
        ),
        (
            release({"name": TEXT, "seats": NUMBER}, {"name": NUMBER}),
            "trips.book",
            "reads 'name' as integer",
        ),
        (
            release({"name": Field(("null", "text"), True), "seats": NUMBER}, {"name": TEXT}),
            "trip.began",
            "changed from text to null or text",
        ),
    ],
)
def test_a_change_that_a_reader_cannot_follow_names_the_event_or_the_step(now, name, words):
    assert any(
        found.name == name and words in found.text for found in baseline.breaks(BEFORE, now)
    ), baseline.breaks(BEFORE, now)


def test_changes_that_are_compatible_one_by_one_break_together():
    """So a release is compared with the file of the last one, as docs/upgrading.md says."""
    added = release({"name": TEXT, "seats": NUMBER, "class": TEXT}, {"name": TEXT})
    needed = release(added.events["trip.began"], {"name": TEXT, "class": TEXT})
    assert not baseline.breaks(BEFORE, added)
    assert not baseline.breaks(added, needed)
    assert baseline.breaks(BEFORE, needed)


def paying(started_by: str, returns: dict[str, str]) -> Baseline:
    """Return a release whose first event, or whose event of a payment, may be another one."""
    return Baseline(
        events={
            "trip.began": {"name": TEXT},
            "trip.ordered": {"customer": TEXT},
            "trip.paid": {"receipt": TEXT},
            "trip.charged": {"charge": TEXT},
        },
        readers={
            "trips.pay": {"name": Field(("text",), started_by == "trip.began")},
            "trips.book": {"results.trips.pay.receipt": TEXT},
        },
        started_by={"trip": started_by},
        steps={"trip": ["trips.pay", "trips.book"]},
        returns=returns,
    )


PAYING = paying("trip.began", {"trips.pay": "trip.paid"})


@pytest.mark.parametrize(
    ("now", "name", "field"),
    [
        (paying("trip.ordered", PAYING.returns), "trip", "'name'"),
        (paying("trip.began", {"trips.pay": "trip.charged"}), "trips.pay", "'receipt'"),
        (paying("trip.began", {}), "trips.pay", "'receipt'"),
    ],
)
def test_another_event_without_a_field_that_the_last_release_needs_is_found(now, name, field):
    assert [
        found.name
        for found in baseline.breaks(PAYING, now)
        if field in found.text and "of the last release needs it" in found.text
    ] == [name]


@pytest.mark.parametrize(
    "now",
    [
        BEFORE,
        release({"name": TEXT, "seats": NUMBER, "class": TEXT}, {"name": TEXT}),
        release({"name": TEXT}, {"name": TEXT}),
        release({"name": TEXT, "seats": NUMBER}, {"name": TEXT, "class": OPTIONAL}),
        release({"name": TEXT, "seats": NUMBER}, {"name": TEXT, "seats": NUMBER}),
        release({"name": TEXT, "seats": NUMBER}, {"name": Field(("null", "text"), True)}),
        release({"name": TEXT, "seats": NUMBER}, {}),
        release({"name": TEXT, "seats": NUMBER}, {"name": TEXT}, {"failure": TEXT}),
        Baseline({}, {}, {}, {}),
    ],
    ids=[
        "nothing",
        "a field of the event is added",
        "a field that no step needs is removed",
        "a step reads a new field with a default",
        "a step begins to read a field that all messages have",
        "a step reads more kinds",
        "a step reads less",
        "an undo reads the failure",
        "all is removed: the databases know whether a saga needs it",
    ],
)
def test_a_compatible_change_is_no_break(now):
    assert baseline.breaks(BEFORE, now) == []


def with_result(price: Shape, reader: Shape) -> Baseline:
    """Return a release in which a later step reads the result of an earlier one."""
    return Baseline(
        events={"trip.began": {"name": TEXT}, "trip.quoted": price},
        readers={"trips.quote": {"name": TEXT}, "trips.sail": reader},
        started_by={"trip": "trip.began"},
        steps={"trip": ["trips.quote", "trips.sail"]},
        returns={"trips.quote": "trip.quoted"},
    )


OBJECT = Field(("object",), True)
READS = {"results.trips.quote": OBJECT, "results.trips.quote.price": NUMBER}


class TestResults:
    """A step may read the facts of an earlier step, which are no part of the first event."""

    def test_a_field_that_a_later_step_needs_is_not_removed(self):
        before, now = with_result({"price": NUMBER}, READS), with_result({}, READS)
        assert {found.name for found in baseline.breaks(before, now)} == {"trip.quoted"}
        assert "trips.sail needs it" in str(baseline.breaks(before, now)[-1])

    def test_a_result_may_be_read_if_the_last_release_returns_it(self):
        before, now = with_result({"price": NUMBER}, {}), with_result({"price": NUMBER}, READS)
        assert baseline.breaks(before, now) == []

    def test_a_result_that_the_last_release_does_not_return_is_missing_in_messages(self):
        before = msgspec.structs.replace(with_result({"price": NUMBER}, {}), returns={})
        found = baseline.breaks(before, with_result({"price": NUMBER}, READS))
        assert {each.name for each in found} == {"trips.sail"}

    def test_a_reader_has_its_results_under_the_name_of_the_step(self):
        shape = baseline._reader(Sail)
        assert shape == {**READS, "name": TEXT}


class Quote(msgspec.Struct):
    price: int


class Sail(msgspec.Struct):
    name: str
    quote: Annotated[Quote, From("trips.quote")]


class Line(msgspec.Struct):
    sku: str
    note: str = ""


class Order(msgspec.Struct):
    lines: list[Line]
    amount: int | None
    extra: Any = None


def test_a_shape_has_the_kinds_of_nested_fields():
    assert shape_of(Order) == {
        "lines": Field(("list",), True),
        "lines[].sku": Field(("text",), True),
        "lines[].note": Field(("text",), False),
        "amount": Field(("integer", "null"), True),
        "extra": Field((), False),
    }


def test_a_baseline_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "schemas.json"
    baseline.write(path, BEFORE)
    assert baseline.read(path) == BEFORE
