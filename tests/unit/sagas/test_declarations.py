"""The checks of contexts, events, services and beat name the fault and its remedy."""

import sys
from types import ModuleType
from typing import ClassVar

import msgspec
import pytest
from celery import current_app
from django.db import router
from django.db.models import Model
from django.test.utils import isolate_apps
from kombu import Queue

import sagas.models
from orders.models import Inbox, Outbox
from orders.saga import PLACE_ORDER
from sagas.checks import beat, events, services
from sagas.checks.contexts import check_contexts
from sagas.checks.registration import check_celery, check_sagas
from sagas.definition import handlers
from sagas.definition.events import Event
from sagas.definition.handlers import StepDefinition
from sagas.definition.plan import Saga, Step
from sagas.storage.registry import service_names
from services import NAMES

STEPS = (Step("trips.book", undo="trips.unbook"), Step("trips.confirm", pivot=True))


class Line(msgspec.Struct):
    sku: str
    quantity: int


class Piece(msgspec.Struct):
    sku: str
    pieces: int


class Ordered(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "tried.ordered"
    amount: int
    note: str | None = None
    lines: tuple[Line, ...] = ()


@pytest.fixture
def declare(monkeypatch):
    """Declare a saga that the project does not have, for the time of the test."""
    monkeypatch.setattr(Saga, "declared", {})
    monkeypatch.setattr(Saga._registrations, "_origins", {})
    return Saga


@pytest.fixture
def saga(declare):
    return declare("tried", *STEPS, abort="trips.drop", started_by=Ordered)


def registered(step: str) -> StepDefinition:
    known = handlers.definition(step)
    assert known
    return known


@pytest.fixture
def accept(monkeypatch):
    """Let every step of the saga accept a struct; all others accept nothing."""

    def accept(step, **fields):
        for name in ("trips.book", "trips.unbook", "trips.confirm", "trips.drop"):
            known = registered(name)
            struct = msgspec.defstruct("Read", list(fields.items()) if name == step else [])
            monkeypatch.setitem(
                handlers._definitions, name, msgspec.structs.replace(known, accepts=struct)
            )

    return accept


@pytest.mark.parametrize(
    ("step", "fields", "id_", "says"),
    [
        ("trips.book", {"amonut": int}, "sagas.E014", "'amonut'"),
        ("trips.unbook", {"currency": str}, "sagas.E014", "'currency'"),
        ("trips.confirm", {"failure": dict}, "sagas.E014", "'failure'"),
        (
            "trips.book",
            {"lines": list[Piece]},
            "sagas.E014",
            "'lines[].pieces'",
        ),
        ("trips.drop", {"failure": Line}, "sagas.E014", "'failure.sku'"),
        ("trips.book", {"amount": str}, "sagas.E015", "as text, but its messages have it as integ"),
        ("trips.book", {"note": str}, "sagas.E015", "as text, but"),
        ("trips.book", {"lines": str}, "sagas.E015", "as text, but its messages have it as list"),
    ],
)
def test_a_field_that_no_message_has_is_an_error(saga, accept, step, fields, id_, says):
    accept(step, **fields)
    found = check_contexts(saga)
    assert found
    assert {error.id for error in found} == {id_}
    assert says in found[0].msg
    assert repr(step) in found[0].msg
    assert "Ordered" in (found[0].hint or "")


def test_a_field_with_a_default_that_no_message_has_is_an_error_too(saga, accept, monkeypatch):
    accept("trips.book")
    known = registered("trips.book")
    struct = msgspec.defstruct("Read", [("amonut", int, 0)])
    monkeypatch.setitem(
        handlers._definitions, "trips.book", msgspec.structs.replace(known, accepts=struct)
    )
    assert [error.id for error in check_contexts(saga)] == ["sagas.E014"]


@pytest.mark.parametrize(
    ("step", "fields"),
    [
        ("trips.book", {"amount": int, "lines": list[Line]}),
        ("trips.book", {"amount": float, "note": str | None}),
        ("trips.drop", {"failure": msgspec.defstruct("Reason", [("code", str)])}),
    ],
)
def test_a_field_that_the_messages_have_is_accepted(saga, accept, step, fields):
    accept(step, **fields)
    assert check_contexts(saga) == []


def test_a_saga_without_a_starting_event_is_reported_as_not_checked(declare):
    saga = declare("tried", *STEPS, abort="trips.drop")
    assert [(found.id, "started_by=" in (found.hint or "")) for found in check_contexts(saga)] == [
        ("sagas.W013", True)
    ]


def test_a_wrong_context_is_among_the_checks_of_the_project(saga, accept):
    accept("trips.book", amonut=int)
    assert "sagas.E014" in {error.id for error in check_sagas(None)}


def test_an_event_type_of_two_classes_is_an_error(monkeypatch):
    module = ModuleType("doubled_events")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    source = """
from sagas.definition.events import Event, Refusal
class Paid(Event, frozen=True, kw_only=True):
    type = "doubled.paid"
class PaidInFull(Paid, frozen=True, kw_only=True):
    pass
class NotPaid(Refusal, frozen=True, kw_only=True):
    type = "doubled.not_paid"
class PaidTwice(Event, frozen=True, kw_only=True):
    type = "doubled.paid"
"""
    exec(source, module.__dict__)
    (found,) = events.shared_types()
    assert found.id == "sagas.E016"
    assert "'doubled.paid'" in found.text
    assert "doubled_events.Paid and doubled_events.PaidTwice" in found.text
    assert "type of its own" in found.hint

    exec(source.replace("doubled.paid", "once.paid", 1), module.__dict__)
    assert list(events.shared_types()) == []


def ids(findings):
    return [finding.id for finding in findings]


@isolate_apps("orders")
def test_two_models_of_one_kind_in_a_service_are_an_error(monkeypatch):
    class SecondOutbox(sagas.models.Outbox):
        class Meta:
            app_label = "orders"

    monkeypatch.setattr(services, "_models", lambda service: [Outbox, Inbox, SecondOutbox])
    (found,) = services._doubled_models("orders")
    assert found.id == "sagas.E017"
    assert "2 models derived from Outbox: Outbox, SecondOutbox" in found.text


def test_an_alias_without_a_database_is_an_error(monkeypatch):
    monkeypatch.setattr(router, "db_for_write", lambda model: "nowhere")
    found = list(services._databases("orders", services._models("orders")))
    assert ids(found) == ["sagas.E021"]
    assert "'nowhere'" in found[0].text
    assert "DATABASES" in found[0].hint


def test_a_service_in_two_databases_is_an_error(monkeypatch):
    route = {Inbox: "payments"}
    monkeypatch.setattr(router, "db_for_write", lambda model: route.get(model, "default"))
    found = list(services._databases("orders", services._models("orders")))
    assert ids(found) == ["sagas.E022"]
    assert "default, payments" in found[0].text


@pytest.mark.parametrize(
    ("queues", "expected"),
    [
        (None, []),
        ([Queue(name) for name in (*NAMES, "trips")], []),
        ([Queue(name) for name in NAMES], ["sagas.E028"]),
        ({name: {} for name in NAMES}, ["sagas.E028"]),
    ],
)
def test_a_service_without_a_queue_is_an_error(monkeypatch, queues, expected):
    monkeypatch.setitem(current_app.conf.changes, "task_queues", queues)
    assert ids(services.findings()) == expected


@pytest.fixture
def schedule(monkeypatch):
    """A copy of beat's schedule, which the checks read."""
    schedule = {name: dict(entry) for name, entry in current_app.conf.beat_schedule.items()}
    monkeypatch.setitem(current_app.conf.changes, "beat_schedule", schedule)
    return schedule


@pytest.mark.parametrize(
    ("entry", "id_", "says"),
    [
        ("flush-payments", "sagas.E023", "'sagas.flush' to the service 'payments'"),
        ("release-inventory", "sagas.E024", "'sagas.release_held' to the service 'inventory'"),
        ("redrive-orders", "sagas.E025", "'sagas.rescue' to the service 'orders'"),
        ("purge-orders", "sagas.E026", "'sagas.purge_ended' to the service 'orders'"),
    ],
)
def test_a_service_without_a_beat_entry_is_an_error(schedule, entry, id_, says):
    del schedule[entry]
    (found,) = check_celery(None)
    assert found.id == id_
    assert says in found.msg
    assert "CELERY_BEAT_SCHEDULE" in (found.hint or "")


def test_a_beat_entry_for_a_queue_without_a_worker_is_an_error(schedule, monkeypatch):
    schedule["flush-orders"]["options"] = {"queue": "ordres"}
    schedule["purge-orders"]["options"] = {}  # so its task goes to the default queue
    assert ids(beat.findings(current_app)) == ["sagas.E027"]
    monkeypatch.setitem(current_app.conf, "task_default_queue", "lost")
    found = list(beat.findings(current_app))
    assert ids(found) == ["sagas.E027", "sagas.E027"]
    assert "'flush-orders'" in found[0].text
    assert "'ordres'" in found[0].text


def test_every_abstract_model_is_checked():
    abstract = {
        model
        for model in vars(sagas.models).values()
        if isinstance(model, type) and issubclass(model, Model) and model._meta.abstract
    }
    assert abstract == set(sagas.models.BASES)


def test_the_projects_saga_and_services_are_sound():
    assert check_contexts(PLACE_ORDER) == []
    assert set(service_names()) == {*NAMES, "trips"}
