"""`manage.py saga` of a project that has only the engine: two kinds of saga in one home."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from django.utils import timezone

from sagas import control, sql, start
from sagas.definition.handlers import Retry, Waiting
from sagas.ids import uuid7
from sagas.management.commands.saga import Command
from sagas.operations import saga_actions, table_stats
from tests.integration.sagas import waits
from tests.trips.harness import begin, deliver, effects, row, state, walk
from tests.trips.models import Cruise, Hold, Trip
from tests.trips.saga import CRUISE
from tests.trips.steps import Began, CalledOff, Pay, behaviour, destinations

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def run(*arguments):
    """Run the engine's command; return its output."""
    out = StringIO()
    call_command(Command(), *map(str, arguments), stdout=out)
    return out.getvalue()


def listed(*arguments):
    page = json.loads(run("list", "--home", "trips", "--json", *arguments))
    return [saga["id"] for saga in page["sagas"]]


def show(saga):
    return json.loads(run("show", saga, "--json"))


def state_of(saga, step):
    return next(each["state"] for each in show(saga)["steps"] if each["step"] == step)


def act(action, *arguments):
    return run(action, *arguments, "--by", "olga", "--reason", "The bank is back.", "--yes")


def cruise():
    with transaction.atomic():
        return start(CRUISE, Cruise(id=uuid7()), Began(name="Ada")).pk


def waiting_trip(outcome=None):
    """Return a trip that waits for its next attempt to pay."""
    [trip] = begin()
    behaviour["trips.pay", trip] = lambda _: outcome or Retry("The bank is down.")
    deliver("trips.book", [trip])
    deliver("trips.pay", [trip])
    assert state(trip, "trips.pay") == "waiting"
    return trip


class TestList:
    def test_it_has_all_kinds_of_a_home_the_newest_first(self):
        first, second = begin(2)
        third = cruise()
        assert listed() == [str(third), str(second), str(first)]

    def test_the_pages_are_complete(self):
        everything = [*begin(3), cruise(), *begin(1), cruise()]
        seen: list[str] = []
        after: tuple[str, ...] = ()
        while True:
            page = json.loads(run("list", "--home", "trips", "--limit", 2, "--json", *after))
            seen += [saga["id"] for saga in page["sagas"]]
            if not page["next"]:
                break
            after = ("--after", page["next"])
        assert seen == [str(saga) for saga in sorted(everything, reverse=True)]

    @pytest.mark.parametrize("kind", ["cruise", "Cruise"])
    def test_a_kind_is_named_by_its_saga_or_its_model(self, kind):
        begin()
        at_sea = cruise()
        assert listed("--kind", kind) == [str(at_sea)]

    def test_each_filter_takes_its_sagas_only(self):
        ended, attention, stalled, held, agreed, open_ = begin(6)
        trips = Trip.objects
        trips.filter(pk=ended).update(ended_at=timezone.now())
        trips.filter(pk=attention).update(needs_attention=True)
        trips.filter(pk=stalled).update(redrives=1)
        trips.filter(pk=agreed).update(waits_until=timezone.now() + timedelta(hours=1))
        act("hold", held)
        assert listed("--ended") == [str(ended)]
        assert listed("--needs-attention") == [str(attention)]
        assert listed("--stalled") == [str(stalled)]
        assert listed("--on-hold") == [str(held)]
        assert listed("--waiting") == [str(agreed)]
        assert str(ended) not in listed("--open")
        assert str(open_) in listed("--open")

    def test_a_saga_that_ended_on_hold_is_not_listed_as_on_hold(self):
        [trip] = begin()
        act("hold", trip)
        Trip.objects.filter(pk=trip).update(ended_at=timezone.now())
        assert listed("--on-hold") == []

    def test_the_step_is_the_one_that_a_saga_is_at(self):
        at_pay = waiting_trip()
        [at_book] = begin()
        assert listed("--step", "trips.pay") == [str(at_pay)]
        assert str(at_book) in listed("--step", "trips.book")

    def test_the_start_may_be_limited(self):
        old, new = begin(2)
        Trip.objects.filter(pk=old).update(created_at="2020-02-01T00:00:00Z")
        assert listed("--started-before", "2020-02-02") == [str(old)]
        assert listed("--started-after", "2020-02-02") == [str(new)]

    def test_a_line_names_the_saga_its_state_and_its_step(self):
        trip = waiting_trip()
        line = run("list", "--home", "trips").splitlines()[0]
        assert line.startswith(str(trip))
        assert "trips/trip" in line
        assert "trips.pay waiting" in line

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--home", "nowhere"),
            ("--limit", "0"),
            ("--limit", "many"),
            ("--after", "first"),
            ("--started-after", "yesterday"),
            ("--step", "nowhere.pay"),
        ],
    )
    def test_a_filter_that_makes_no_sense_is_refused(self, arguments):
        with pytest.raises(CommandError):
            run("list", *arguments)

    def test_a_database_that_is_away_is_named_and_not_taken_for_empty(self, monkeypatch):
        begin()
        fetch = sql.fetch

        def refuse(alias, *args):
            if alias == "payments":
                raise DatabaseError("away")
            return fetch(alias, *args)

        monkeypatch.setattr(sql, "fetch", refuse)
        with pytest.raises(CommandError, match="payments does not answer") as raised:
            run("list", "--home", "trips")
        assert raised.value.returncode == 2


class TestShow:
    def test_it_shows_each_step_of_the_plan_the_timeline_and_the_next_attempt(self):
        trip = waiting_trip()
        shown = show(trip)
        assert (shown["saga"], shown["home"], shown["kind"]) == ("trip", "trips", "Trip")
        states = {step["step"]: step["state"] for step in shown["steps"]}
        assert states["trips.book"] == "done"
        assert states["trips.pay"] == "waiting"
        assert states["trips.confirm"] == "not reached"
        assert set(states) == {*states, "trips.unbook", "trips.refund", "trips.drop"}
        assert shown["events"][0]["type"] == "trip.began"
        lines = run("show", trip)
        assert "Waits for  the next attempt of trips.pay, at" in lines
        assert "The bank is down." in lines

    def test_an_agreed_wait_has_its_end(self):
        trip = waiting_trip(Waiting("The traveller must confirm."))
        Trip.objects.filter(pk=trip).update(waits_until="2099-01-01T00:00:00Z")
        assert "as agreed until 2099-01-01 00:00:00Z" in run("show", trip)

    def test_a_wait_for_a_signal_has_its_end(self):
        [trip] = waits.to_review()
        end = row(trip, waits.REVIEW).expires_at
        Trip.objects.filter(pk=trip).update(waits_until=end)
        shown = run("show", trip)
        assert f"a signal to {waits.REVIEW}, until {end:%Y-%m-%d %H:%M:%S}Z" in shown
        assert "as agreed" not in shown

    def test_a_wait_with_an_early_signal_has_not_begun(self):
        [trip] = waits.begin()
        waits.answer(trip)
        states = {step["step"]: step["state"] for step in show(trip)["steps"]}
        assert states[waits.REVIEW] == "not reached"
        assert f"Waits for  the next attempt of {waits.REVIEW}" not in run("show", trip)
        assert f"{waits.REVIEW} waiting" not in run("list", "--home", "trips")
        assert str(trip) not in run("list", "--step", waits.REVIEW)

    def test_a_deadline_is_shown_until_the_end(self):
        [trip] = begin()
        assert "Deadline" not in run("show", trip)
        Trip.objects.filter(pk=trip).update(deadline_at="2099-01-01T00:00:00Z")
        assert "Deadline   2099-01-01 00:00:00Z" in run("show", trip)
        assert show(trip)["deadline_at"] == "2099-01-01T00:00:00Z"

    def test_a_hold_has_its_operator_and_reason(self):
        [trip] = begin()
        act("hold", trip)
        lines = run("show", trip)
        assert "the release of its hold, by olga: The bank is back." in lines

    def test_the_failure_of_a_cancelled_saga_is_shown(self):
        at_sea = cruise()
        act("cancel", at_sea)
        assert "cancelled_by_operator: Cancelled by an operator." in run("show", at_sea)
        assert state_of(at_sea, "trips.confirm") == "refused"

    def test_a_cancel_has_the_failure_that_the_domain_gives(self):
        [trip] = begin()
        act("cancel", trip)
        assert show(trip)["failure"] == CalledOff().facts()

    def test_steps_of_a_database_that_is_away_are_unknown(self, monkeypatch):
        trip = waiting_trip()
        fetch = sql.fetch

        def refuse(alias, statement, params):
            if "trips_inbox" in statement:
                raise DatabaseError("away")
            return fetch(alias, statement, params)

        monkeypatch.setattr(sql, "fetch", refuse)
        out = StringIO()
        with pytest.raises(CommandError, match="unknown") as raised:
            call_command(Command(), "show", str(trip), "--json", stdout=out)
        assert raised.value.returncode == 2
        shown = json.loads(out.getvalue())
        assert {step["state"] for step in shown["steps"]} == {"unknown"}
        assert shown["unknown"] == ["trips"]

    def test_private_fields_are_hidden(self, settings):
        settings.SAGA_PRIVATE_FIELDS = ["name"]
        [trip] = begin(names=["Grace"])
        assert "Grace" not in run("show", trip)
        assert "Grace" not in run("show", trip, "--json")

    def test_a_saga_that_no_home_has_is_an_error(self):
        with pytest.raises(CommandError, match="No home has a saga"):
            run("show", uuid7())


class TestActions:
    def test_a_held_saga_stops_and_goes_on_after_the_release(self):
        [trip] = begin()
        assert "On hold before its next step." in act("hold", trip)
        assert (Hold.objects.get().by, Hold.objects.get().why) == ("olga", "The bank is back.")
        deliver("trips.book", [trip])
        assert state(trip, "trips.book") == "held"
        assert "Released." in act("release", trip)
        assert state(trip, "trips.book") == "waiting"

    def test_a_retry_makes_the_next_attempt_due(self):
        trip = waiting_trip()
        assert "1 step made due now." in act("retry", trip)
        assert row(trip, "trips.pay").send_at <= timezone.now()

    def test_a_cancel_undoes_what_was_done(self):
        [trip] = begin()
        deliver("trips.book", [trip])
        output = act("cancel", trip)
        assert "trips.unbook undoes trips.book, which is done." in output
        walk([trip])
        assert effects(trip)[-2:] == ["trips.unbook", "trips.drop"]
        assert state(trip, "trips.confirm") == "refused"

    def test_a_step_on_hold_stops_all_sagas_and_the_release_sends_them(self):
        first, second = begin(2)
        act("hold", "--step", "trips.book")
        deliver("trips.book", [first, second])
        assert {state(trip, "trips.book") for trip in (first, second)} == {"held"}
        assert "2 sagas wait at trips.book" in act("release", "--step", "trips.book")
        assert not Hold.objects.exists()

    def test_a_count_of_sagas_that_may_be_too_small_says_so(self, monkeypatch):
        trips = begin(3)
        act("hold", "--step", "trips.book")
        deliver("trips.book", trips)
        for module in (saga_actions, table_stats):
            monkeypatch.setattr(module, "COUNT_LIMIT", 2)
        assert "At least 2 sagas wait at trips.book" in act("release", "--step", "trips.book")

    def test_the_calls_of_a_step_to_one_destination_are_held_and_released(self):
        trip, other = begin(2)
        destinations.update({trip: "acme", other: "best"})
        calls = ("--step", "trips.pay", "--destination", "acme")
        output = act("hold", *calls)
        assert "Sagas stop before trips.pay calls acme." in output
        assert "Calls of trips.pay to acme are on hold." in output
        assert "Calls of trips.pay to acme are on hold already." in act("hold", *calls)
        walk([trip, other])
        assert (state(trip, "trips.pay"), state(other, "trips.travel")) == ("held", "done")
        assert "trips.pay to acme in trips since" in run("show", trip)
        assert "not on hold" in act("release", "--step", "trips.pay")
        assert "Calls of trips.pay to acme are on hold: release them" in act("retry", trip)
        output = act("release", *calls)
        assert "1 sagas wait before trips.pay calls acme, and go on." in output
        assert "Calls of trips.pay to acme are released" in output
        assert not Hold.objects.exists()

    def test_a_destination_that_no_call_has_had_is_held_and_it_is_said(self):
        (trip,) = begin(1)
        destinations[trip] = "acme"
        warning = "is known: check the name."
        walk([trip])
        assert warning not in act("hold", "--step", "trips.pay", "--destination", "acme")
        assert warning in act("hold", "--step", "trips.pay", "--destination", "Acme")

    def test_a_release_of_a_saga_names_the_destination_at_which_it_still_waits(self):
        (trip,) = begin(1)
        destinations[trip] = "acme"
        act("hold", "--step", "trips.pay", "--destination", "acme")
        walk([trip])
        because = "because calls of trips.pay to acme are on hold."
        assert f"The saga is not on hold. It waits {because}" in act("release", trip)
        act("hold", trip)
        assert "The saga is on hold: release it first." in act("retry", trip)
        output = act("release", trip)
        assert "trips.pay stays held, because its calls to acme are on hold." in output
        assert f"Released. It still waits {because}" in output
        whole = act("hold", "--step", "trips.pay")
        assert "trips.pay is on hold for all sagas." in whole
        act("hold", trip)
        assert "It still waits at trips.pay, which is on hold for all sagas, and" in act(
            "release", trip
        )

    @pytest.mark.parametrize(
        ("step", "name", "reason"),
        [
            ("trips.pay", "x" * 151, "at most 150"),
            ("trips.pay", "acme ", "blank"),
            ("trips.book", "acme", "trips.book calls no outside system"),
        ],
    )
    def test_a_destination_that_no_call_can_have_is_refused(self, step, name, reason):
        with pytest.raises(CommandError, match=reason):
            act("hold", "--step", step, "--destination", name)
        assert not Hold.objects.exists()

    @pytest.mark.parametrize("action", ["retry", "hold", "release", "cancel"])
    def test_a_saga_that_has_ended_is_left_alone(self, action):
        [trip] = begin()
        Trip.objects.filter(pk=trip).update(ended_at=timezone.now())
        assert "Nothing is changed." in act(action, trip)
        assert not Hold.objects.exists()

    def test_a_saga_past_its_pivot_cannot_be_cancelled(self):
        [trip] = begin()
        for step in ("trips.book", "trips.pay", "trips.confirm"):
            deliver(step, [trip])
        assert "trips.confirm is done, so it can no longer be cancelled." in act("cancel", trip)

    @pytest.mark.parametrize("action", ["retry", "release"])
    def test_an_action_without_effect_says_so(self, action):
        [trip] = begin()
        assert "Nothing is changed." in act(action, trip)

    def test_without_a_confirmation_nothing_changes(self):
        [trip] = begin()
        with pytest.raises(CommandError, match="--yes"):
            run("hold", trip, "--reason", "The bank is down.")
        assert not Hold.objects.exists()

    def test_a_saga_that_its_domain_lets_no_operator_cancel_stays(self, monkeypatch):
        [trip] = begin()
        monkeypatch.setattr("tests.trips.kinds.TripKind.cancellation", lambda kind, row: None)
        assert "Its domain lets no operator cancel it now." in act("cancel", trip)
        assert control.cancel(control.find(trip)) == (False, control.NOT_BY_OPERATOR)
        assert state(trip, "trips.confirm") is None

    def test_without_a_reason_nothing_changes(self):
        [trip] = begin()
        with pytest.raises(CommandError, match="--reason"):
            run("hold", trip, "--yes")
        assert not Hold.objects.exists()

    def test_a_step_that_is_not_declared_is_not_held(self):
        with pytest.raises(CommandError, match=r"trips\.fly"):
            act("hold", "--step", "trips.fly")

    def test_a_database_that_is_away_keeps_an_action_from_its_effect(self, monkeypatch):
        [trip] = begin()
        fetch = sql.fetch

        def refuse(alias, statement, params):
            if "trips_inbox" in statement:
                raise DatabaseError("away")
            return fetch(alias, statement, params)

        monkeypatch.setattr(sql, "fetch", refuse)
        with pytest.raises(CommandError, match="nothing is changed"):
            act("hold", trip)
        assert not Hold.objects.exists()


class TestFromCode:
    """The functions of `sagas.control`, as a host's code calls them."""

    def test_each_call_may_be_repeated(self):
        row = control.find(waiting_trip())
        assert control.hold(row, by="olga", why="The bank is down.").changed
        assert not control.hold(row, by="olga", why="The bank is down.").changed
        assert control.release(row).changed
        assert not control.release(row).changed
        assert control.retry(row).changed
        assert control.cancel(row).changed
        assert not control.cancel(row).changed

    def test_a_step_may_be_held_and_released(self):
        assert control.hold_step("trips.pay", by="olga", why="The bank is down.").changed
        assert not control.hold_step("trips.pay", by="olga", why="The bank is down.").changed
        assert control.release_step("trips.pay").changed
        assert not control.release_step("trips.pay").changed

    def test_a_destination_that_no_call_can_have_is_an_error(self, monkeypatch):
        for step, name in (("trips.pay", "x" * 151), ("trips.pay", " a"), ("trips.book", "acme")):
            with pytest.raises(ValueError, match=r"destination"):
                control.hold_step(step, destination=name, by="olga", why="The bank is down.")
        monkeypatch.delattr(Pay, "destination")
        with pytest.raises(ValueError, match="names no destination"):
            control.hold_step("trips.pay", destination="acme", by="olga", why="The bank is down.")
        assert not Hold.objects.exists()

    def test_a_retry_names_the_destination_on_hold(self):
        (trip,) = begin(1)
        destinations[trip] = "acme"
        control.hold_step("trips.pay", destination="acme", by="olga", why="The bank is down.")
        walk([trip])
        result = control.retry(control.find(trip))
        assert result.text == "Calls of trips.pay to acme are on hold: release them first."

    def test_a_saga_that_has_ended_is_not_held(self):
        [trip] = begin()
        row = control.find(trip)
        Trip.objects.filter(pk=trip).update(ended_at=timezone.now())
        assert not control.hold(row, by="olga", why="The bank is down.").changed
        assert not Hold.objects.exists()
