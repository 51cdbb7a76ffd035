"""A handler's annotation says which context it takes, and whether of one saga or of a batch."""

import functools
from typing import Any

import msgspec
import pytest

from sagas.definition import handlers
from sagas.definition.events import Event
from sagas.definition.handlers import AsyncExternalStep, Batch, Delivery, ExternalStep, action, undo
from sagas.definition.results import From
from sagas.ids import uuid7


class Parcel(msgspec.Struct, frozen=True):
    weight: int


class Sent(Event, frozen=True, kw_only=True):
    type = "parcel.sent"
    weight: int


@pytest.fixture(autouse=True)
def registrations(monkeypatch):
    """Let the registrations of a test end with it."""
    monkeypatch.setattr(handlers, "_definitions", {})
    monkeypatch.setattr(handlers._registrations, "_origins", {})


def registered(name) -> Any:
    """Return the definition of a step."""
    return handlers.definition(name)


def run(name, *weights):
    """Run a registered function for a batch, as the engine does."""
    batch = [Delivery(saga=uuid7(), context=Parcel(weight)) for weight in weights]
    return registered(name).handler(batch)


def test_a_function_of_one_delivery_is_called_for_each_delivery_of_a_batch():
    @action("parcels.send")
    def send(parcel: Delivery[Parcel]) -> Sent:
        return Sent(weight=parcel.context.weight)

    assert registered("parcels.send").accepts is Parcel
    assert run("parcels.send", 1, 2) == [Sent(weight=1), Sent(weight=2)]


def test_a_function_of_a_batch_is_called_once():
    @undo("parcels.fetch")
    def fetch(parcels: Batch[Parcel]) -> list[Sent]:
        return [Sent(weight=sum(parcel.context.weight for parcel in parcels))] * len(parcels)

    assert registered("parcels.fetch").accepts is Parcel
    assert run("parcels.fetch", 1, 2) == [Sent(weight=3), Sent(weight=3)]


def test_an_external_step_names_its_context_first():
    @action("parcels.post")
    class Post(ExternalStep[Parcel, str, str]): ...

    @action("parcels.wire")
    class Wire(AsyncExternalStep[Parcel, str, str]): ...

    @action("parcels.heavy")
    class Heavy(Post): ...

    for name in ("parcels.post", "parcels.wire", "parcels.heavy"):
        assert registered(name).accepts is Parcel


def test_the_annotations_of_a_decorated_function_are_read():
    def logged(function):
        @functools.wraps(function)
        def inner(*args):
            return function(*args)

        return inner

    @action("parcels.send")
    @logged
    def send(parcel: Delivery[Parcel]) -> Sent:
        return Sent(weight=parcel.context.weight)

    assert run("parcels.send", 4) == [Sent(weight=4)]


def test_arguments_of_the_registration_stand_for_a_missing_annotation():
    action("parcels.send", accepts=Parcel, batch=False)(lambda one: Sent(weight=one.context.weight))
    assert run("parcels.send", 5, 6) == [Sent(weight=5), Sent(weight=6)]


@pytest.mark.parametrize(
    "handler", [lambda parcel: None, lambda: None, lambda parcels: [], functools.partial(max)]
)
def test_a_handler_that_says_neither_is_an_error_that_names_both_ways(handler):
    with pytest.raises(TypeError, match=r"Delivery\[…\] or Batch\[…\].*accepts= and batch="):
        action("parcels.send")(handler)


def test_a_bare_delivery_has_no_context():
    def send(parcel: Delivery) -> None: ...

    with pytest.raises(TypeError, match="no annotation of its context"):
        action("parcels.send")(send)


def test_a_result_without_its_type_is_a_clear_error():
    class InPlace(msgspec.Struct, frozen=True):
        sent: From("parcels.send")  # type: ignore[valid-type]

    class AsDefault(msgspec.Struct, frozen=True):
        weight: int
        sent: Any = From("parcels.send")

    def fetch(delivery):
        return Sent(weight=1)

    for struct in (InPlace, AsDefault):
        with pytest.raises(TypeError, match=r"'sent'.* in \w+ as Annotated\[…, From\(…\)\]"):
            action("parcels.fetch", accepts=struct, batch=False)(fetch)
