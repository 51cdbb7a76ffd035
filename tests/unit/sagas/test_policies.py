"""A step is registered with its policy, and the check rejects a policy that cannot work."""

from typing import Any

import pytest

from sagas.checks import policies
from sagas.definition import handlers
from sagas.definition.events import Event
from sagas.definition.handlers import Delivery, ExternalStep, NoContext, action, undo
from sagas.definition.policy import Backoff, Policy


class Sent(Event, frozen=True, kw_only=True):
    type = "parcel.delivered"


@pytest.fixture(autouse=True)
def registrations(monkeypatch):
    """Let the registrations of a test end with it."""
    monkeypatch.setattr(handlers, "_definitions", {})
    monkeypatch.setattr(handlers._registrations, "_origins", {})


def send(parcel: Delivery[NoContext]) -> Sent:
    return Sent()


class Track(ExternalStep[NoContext, str, str]):
    budget = 9.0


def findings(**policy: Any):
    action("parcels.send", **policy)(send)
    return [finding.text for finding in policies.findings()]


def test_a_step_keeps_the_policy_that_it_is_registered_with():
    slow = Backoff(first=5.0, longest=300.0)
    action("parcels.send", tries=8, backoff=slow, most_in_batch=20)(send)
    undo("parcels.fetch", tries=3)(send)

    expected = Policy(tries=8, backoff=slow, most_in_batch=20)
    assert handlers.policy_of("parcels.send") == expected
    assert handlers.policy_of("parcels.fetch") == Policy(tries=3)
    assert handlers.policy_of("parcels.unknown") == Policy()


def test_a_step_without_a_policy_has_the_settings_of_the_engine(settings):
    settings.SAGAS = {"STEP_ATTEMPTS": 3, "BATCH_SIZE": 40}

    assert (Policy().most_tries, Policy().batch_size) == (3, 40)
    assert (Policy(tries=9).most_tries, Policy(most_in_batch=7).batch_size) == (9, 7)
    assert Policy(most_in_batch=70).batch_size == 40


def test_the_pauses_double_up_to_the_longest():
    pauses = [Backoff(first=2.0, longest=8.0).pause(attempt) for attempt in range(1, 6)]

    assert all(top / 2 <= pause <= top for top, pause in zip([2, 4, 8, 8, 8], pauses, strict=True))


def test_a_registration_may_replace_the_budget_of_its_class_for_its_own_step():
    action("parcels.track", budget=2.5)(Track)
    action("parcels.trace")(Track)

    budgets = [
        handlers.definition(name).handler.budget  # type: ignore[union-attr]  # both are registered
        for name in ("parcels.track", "parcels.trace")
    ]
    assert budgets == [2.5, 9.0]
    assert list(policies.findings()) == []


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"tries": 0}, "tries=0"),
        ({"tries": 2.5}, "tries=2.5"),
        ({"tries": True}, "tries=True"),
        ({"most_in_batch": 0}, "most_in_batch=0"),
        ({"backoff": Backoff(first=5.0, longest=1.0)}, "0 <= first <= longest"),
        ({"backoff": Backoff(first=-1.0)}, "0 <= first <= longest"),
        ({"backoff": Backoff(longest=float("inf"))}, "0 <= first <= longest"),
        ({"budget": 5.0}, "only an ExternalStep makes calls"),
    ],
)
def test_a_wrong_policy_is_rejected(policy, says):
    (text,) = findings(**policy)
    assert says in text
    assert "'parcels.send'" in text


@pytest.mark.parametrize("budget", [0, -1.0, "5", float("inf")])
def test_a_budget_that_is_no_time_is_rejected(budget):
    action("parcels.track", budget=budget)(Track)
    (finding,) = policies.findings()
    assert "seconds above 0" in finding.text
