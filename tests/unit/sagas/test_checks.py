"""The checks reject a wrong declaration of a saga, and say how to correct it."""

import pytest

from sagas.checks import check_plan, check_sagas
from sagas.definition.plan import Plan, Step

BOOK = Step("trips.book", undo="trips.unbook")
PAY = Step("trips.pay", undo="trips.refund")
CONFIRM = Step("trips.confirm", pivot=True)
TRAVEL = Step("trips.travel")


def plan(*steps: Step, abort: str = "trips.drop") -> Plan:
    return Plan(saga="tried", steps=steps, abort=abort)


def test_the_sagas_of_this_project_are_sound():
    assert check_sagas(None) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (plan(), "no steps"),
        (plan(BOOK, BOOK, CONFIRM), "occurs 2 times"),
        (
            plan(BOOK, Step("trips.pay", undo="trips.unbook"), CONFIRM),
            "'trips.unbook' occurs 2 times",
        ),
        (plan(BOOK, CONFIRM, Step("trips.travel", pivot=True)), "two pivots"),
        (plan(BOOK, Step("trips.pay"), CONFIRM), "'trips.pay' has no undo"),
        (plan(BOOK, CONFIRM, PAY), "never runs"),
        (
            plan(Step("trips.book", undo="orders.cancel"), CONFIRM),
            "not in the service of 'trips.book'",
        ),
        (
            plan(Step("trips.fly", undo="trips.unbook"), CONFIRM),
            "no step is registered as 'trips.fly'",
        ),
        (plan(Step("trips.travel", undo="trips.unbook"), CONFIRM), "has no refusal event"),
        (plan(BOOK, CONFIRM, Step("hotels.checkin")), "No installed app 'hotels'"),
        (plan(BOOK, CONFIRM, abort="payments.refund"), "TrackedSaga"),
        (plan(BOOK, Step("payments.capture", pivot=True)), "'payments.capture' has no bar"),
        (
            plan(BOOK, Step("payments.capture", pivot=True, bar="trips.drop")),
            "'trips.drop' is not in the service of",
        ),
        (
            plan(BOOK, Step("trips.confirm", pivot=True, bar="trips.unbook")),
            "has a bar that never runs",
        ),
        (
            plan(BOOK, Step("trips.pay", undo="trips.refund", bar="trips.drop"), CONFIRM),
            "has a bar that never runs",
        ),
    ],
)
def test_a_wrong_plan_is_rejected(wrong, says):
    assert says in " ".join(f"{message.msg} {message.hint}" for message in check_plan(wrong))


def test_a_visibility_timeout_below_the_time_limit_is_rejected(settings):
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 10}
    assert [message.id for message in check_sagas(None)] == ["sagas.E020"]
