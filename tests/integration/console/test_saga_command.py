"""`manage.py saga` of this project: the rights, previews, limits and log of the console."""

from io import StringIO

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from console.bulk_actions import worker
from console.models import Run
from orders.models import Hold as OrdersHold
from orders.models import Order
from orders.status import Status
from payments.models import Hold as PaymentsHold
from payments.models import Inbox
from sagas import start
from sagas.definition.hold_scope import HoldScope
from sagas.ids import uuid7
from sagas.storage import automatic_holds
from sagas.storage.registry import get_service
from staff.models import LogEntry
from tests.integration.console.operators import member, paid, stuck
from tests.trips.models import Cruise, Trip
from tests.trips.models import Hold as TripsHold
from tests.trips.saga import CRUISE, TRIP
from tests.trips.steps import Began

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("quiet"),
]

ACTIONS = ("retry", "cancel", "hold", "release")


def act(action, *arguments, by="olga", confirmed=True):
    out = StringIO()
    yes = ["--yes"] if confirmed else []
    given = ["--by", by, "--reason", "The gateway is back."]
    call_command("saga", action, *map(str, arguments), *given, *yes, stdout=out)
    return out.getvalue()


def log_of(action):
    entries = LogEntry.objects.filter(action=action).order_by("seq")
    return [(entry.who, entry.what, entry.via) for entry in entries]


def begin_trip():
    with transaction.atomic():
        return start(TRIP, Trip(id=uuid7()), Began(name="Ada")).pk


def test_a_retry_is_a_run_of_the_operator_and_in_the_log(olga):
    order = stuck()
    assert "Attempts due now: 1" in act("retry", order.id)
    assert Inbox.objects.filter(saga=order.id, send_at__lte=timezone.now()).exists()
    run = Run.objects.get()
    assert (run.action, run.state, run.via, run.requested_by) == ("retry", "ended", "command", olga)
    assert [what for _, what, _ in log_of("retry")] == ["requested", "acted", "ended"]
    assert {(who, via) for who, _, via in log_of("retry")} == {("olga", "command")}
    entry = LogEntry.objects.get(what="acted")
    assert (entry.order_id, entry.why) == (order.id, "The gateway is back.")
    assert "@" in entry.address


def test_an_order_is_held_and_released_in_all_its_services(olga):
    order = stuck()
    act("hold", order.id)
    for holds in (OrdersHold, PaymentsHold):
        assert holds.objects.get().by == "olga"
    act("release", order.id)
    assert not OrdersHold.objects.exists()
    assert not PaymentsHold.objects.exists()


def test_a_cancel_within_the_limit_cancels_the_order(olga):
    order = paid(2500)
    output = act("cancel", order.id)
    assert "Money refunded: 25.00" in output
    assert Order.objects.get(id=order.id).status == Status.CANCELLING


def test_a_cancel_above_the_limit_waits_for_a_second_person(olga):
    order = paid(250_000)
    output = act("cancel", order.id)
    assert "waits for a second person" in output
    assert Order.objects.get(id=order.id).status == order.status
    assert Run.objects.get().state == "awaiting"
    assert "already" in act("cancel", order.id)
    assert Run.objects.count() == 1


@pytest.mark.parametrize("action", ACTIONS)
def test_without_a_confirmation_nothing_changes_and_no_run_is_made(olga, action):
    order = stuck()
    if action == "release":
        act("hold", order.id)
    before = Run.objects.count()
    with pytest.raises(CommandError, match="--yes"):
        act(action, order.id, confirmed=False)
    assert Run.objects.count() == before


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("groups", [("viewer",), ("approver",), ("auditors", "operator"), ()])
def test_a_person_without_the_right_is_refused_and_the_refusal_is_logged(db, action, groups):
    person = member("vera", *groups)
    person.groups.set(Group.objects.filter(name__in=groups))
    order = stuck()
    with pytest.raises(CommandError, match="“"):
        act(action, order.id, by="vera")
    assert log_of(action) == [("vera", "refused", "command")]
    assert not Run.objects.exists()


def test_a_step_is_held_by_an_operator_and_released_by_an_approver_only(olga):
    member("anna", "approver")
    assert "on hold for all sagas" in act("hold", "--step", "payments.charge")
    with pytest.raises(CommandError, match="hold_step"):
        act("release", "--step", "payments.charge")
    assert "is released" in act("release", "--step", "payments.charge", by="anna")
    assert not PaymentsHold.objects.exists()
    assert [what for _, what, _ in log_of("hold_step")] == ["requested", "acted", "ended"]
    assert Run.objects.get(action="release_step").via == "command"


def test_the_calls_of_a_step_to_one_gateway_are_held_and_released_and_the_log_names_it(olga):
    member("anna", "approver")
    calls = ("--step", "payments.charge", "--destination", "stripe")
    assert "Calls of payments.charge to stripe are on hold." in act("hold", *calls)
    assert PaymentsHold.objects.values_list("calling_step", "destination").get() == calls[1::2]
    assert "not on hold" in act("release", "--step", "payments.charge", by="anna")
    assert "Calls of payments.charge to stripe are released" in act("release", *calls, by="anna")
    assert not PaymentsHold.objects.exists()
    assert set(LogEntry.objects.filter(action="hold_step").values_list("subject", flat=True)) == {
        "calls to stripe"
    }


@pytest.mark.parametrize(
    ("step", "name", "reason"),
    [
        ("payments.charge", "x" * 151, "at most 150"),
        ("payments.charge", "stripe ", "blank"),
        ("payments.charge", " ", "blank"),
        ("payments.charge", "\udcff", "cannot be printed"),
        ("inventory.reserve", "stripe", "inventory.reserve calls no outside system"),
    ],
)
def test_a_hold_of_a_destination_that_no_call_can_have_is_refused(olga, step, name, reason):
    with pytest.raises(CommandError, match=reason):
        act("hold", "--step", step, "--destination", name)
    assert not Run.objects.exists()


def test_the_stored_name_of_a_hold_releases_it(db):
    member("anna", "approver")
    for name in ("shop one ", "x" * 300):
        scope = HoldScope("payments.charge", name)
        automatic_holds.place(get_service("payments"), scope, why="HTTP 503")
        calls = ("--step", "payments.charge", "--destination", name)
        assert "are released" in act("release", *calls, by="anna")
    assert not PaymentsHold.objects.exists()


def test_a_hold_of_a_destination_that_no_call_has_had_is_possible_and_it_is_said(olga):
    output = act("hold", "--step", "payments.charge", "--destination", "Stripe")
    assert "no call of this step to it is known: check the name" in output
    assert PaymentsHold.objects.get().destination == "Stripe"


def test_a_destination_needs_its_step(olga):
    with pytest.raises(CommandError, match="--step"):
        act("hold", stuck().id, "--destination", "stripe")


def test_a_saga_of_another_kind_is_under_the_same_policy_and_in_the_same_log(olga):
    trip = begin_trip()
    assert "Trips put on hold: 1 (of 1," in act("hold", trip)
    assert TripsHold.objects.get().by == "olga"
    assert [what for _, what, _ in log_of("hold")] == ["requested", "acted", "ended"]
    assert LogEntry.objects.get(what="acted").order_id == trip

    member("vera", "viewer")
    with pytest.raises(CommandError, match="add_run"):
        act("release", trip, by="vera")
    assert TripsHold.objects.exists()
    assert log_of("release") == [("vera", "refused", "command")]


def test_a_saga_that_its_domain_lets_no_staff_cancel_is_not_cancelled(olga):
    with transaction.atomic():
        cruise = start(CRUISE, Cruise(id=uuid7()), Began(name="Ada")).pk
    output = act("cancel", cruise)
    assert "Nothing is changed." in output
    assert "order" not in output
    assert not Run.objects.exists()


def test_no_worker_acts_on_the_saga_beside_the_shell(olga, monkeypatch):
    found = []
    act_on = worker.act_on

    def act_on_after_a_worker(run):
        found.append(worker.work_once())
        act_on(run)

    monkeypatch.setattr(worker, "act_on", act_on_after_a_worker)
    assert "On hold before its next step." in act("hold", stuck().id)
    assert found == [0]


@pytest.mark.parametrize("by", ["", "unknown-user", "left"])
def test_the_operator_must_be_an_active_user(olga, by):
    left = member("left", "operator")
    left.is_active = False
    left.save()
    with pytest.raises(CommandError):
        act("retry", stuck().id, by=by)
    assert not Run.objects.exists()


def test_a_database_that_is_away_keeps_the_action_from_its_effect(olga, renamed):
    order = stuck()
    renamed("payments", "payments_inbox")
    with pytest.raises(CommandError, match="payments does not answer") as raised:
        act("retry", order.id)
    assert raised.value.returncode == 2
    assert not Run.objects.exists()


def test_orders_and_other_sagas_are_in_one_list(olga):
    order, trip = stuck(), begin_trip()
    out = StringIO()
    call_command("saga", "list", "--open", stdout=out)
    lines = out.getvalue()
    assert f"{order.id}" in lines
    assert f"{trip}" in lines
    assert "payments.charge waiting" in lines
    call_command("saga", "list", "--needs-attention", "--home", "orders", stdout=out)
    assert "orders/place_order  needs attention" in out.getvalue()
