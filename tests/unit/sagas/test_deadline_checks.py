"""The checks refuse a deadline that cannot act."""

from datetime import timedelta

import pytest

from sagas.checks import deadlines
from sagas.checks.registration import check_sagas
from sagas.definition.plan import Saga, Step

BOOK = Step("trips.book", undo="trips.unbook")
CONFIRM = Step("trips.confirm", pivot=True)


@pytest.fixture
def declare(monkeypatch):
    """Declare a saga that the project does not have, for the time of the test."""
    monkeypatch.setattr(Saga, "declared", {})
    monkeypatch.setattr(Saga._registrations, "_origins", {})
    return Saga


def test_a_deadline_with_a_pivot_is_accepted(declare):
    saga = declare("hurried", BOOK, CONFIRM, abort="trips.drop", deadline=timedelta(hours=1))
    assert list(deadlines.findings(saga)) == []


def test_a_saga_without_a_deadline_needs_no_pivot_for_it(declare):
    assert list(deadlines.findings(declare("calm", BOOK, abort="trips.drop"))) == []


@pytest.mark.parametrize("wrong", [timedelta(0), timedelta(seconds=-1), 3600])
def test_a_deadline_that_is_no_time_is_an_error(declare, wrong):
    declare("hurried", BOOK, CONFIRM, abort="trips.drop", deadline=wrong)
    (found,) = [message for message in check_sagas(None) if message.id == "sagas.E036"]
    assert "'hurried' has deadline=" in found.msg


def test_a_deadline_without_a_pivot_is_an_error(declare):
    declare("hurried", BOOK, abort="trips.drop", deadline=timedelta(hours=1))
    (found,) = [message for message in check_sagas(None) if message.id == "sagas.E037"]
    assert "'hurried' has a deadline, but no pivot" in found.msg
