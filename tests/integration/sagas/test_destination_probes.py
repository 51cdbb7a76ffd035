"""The probes of two destinations and of their step. A trip that tries a hold may release it, and a
silent destination gets one call at a time.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.utils import timezone

from sagas.definition.handlers import Unknown
from sagas.definition.hold_scope import HoldScope
from sagas.execution import held_calls
from sagas.operations import holds
from sagas.storage import automatic_holds, hold_probes, inbox
from tests.broker import empty
from tests.integration.sagas.in_flight import PAY
from tests.integration.sagas.test_blame import attempt, counted, explode, probe_round
from tests.integration.sagas.test_destination_holds import (
    ACME,
    BEST,
    answer,
    called,
    of,
    on_hold,
    released,
    silence,
    silent,
    states,
)
from tests.trips.harness import (
    LIMIT,
    PLAN,
    TRIPS,
    deliver,
    make_due,
    messages_to,
    row,
    state,
)
from tests.trips.models import Hold, Inbox
from tests.trips.steps import Pay, behaviour, calls, destinations

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def place_on_step():
    automatic_holds.place(TRIPS, HoldScope(PAY), why="It fails.")


def probes_due():
    """Choose the probes that are due now; return their scopes."""
    Hold.objects.update(probe_at=timezone.now() - timedelta(seconds=1))
    return list(hold_probes.send_probes(TRIPS))


def lose(trip):
    """Let the process of a trip's call be lost, so that the call seems to go on."""

    def lost(_):
        raise SystemExit

    behaviour["trips.pay/call", trip] = lost
    with pytest.raises(SystemExit):
        deliver(PAY, [trip])
    assert state(trip, PAY) == "started"


class TestTheStep:
    def test_is_probed_at_a_destination_that_is_not_on_hold(self):
        silent(ACME, 8)
        place_on_step()
        (other,) = of(BEST)
        deliver(PAY, [other])
        assert state(other, PAY) == "held"
        probe_round()
        assert state(other, PAY) == "done"
        assert released() == [(PAY, ACME)]

    def test_is_also_probed_at_a_destination_on_hold_so_that_a_bad_trip_does_not_keep_it(self):
        trips = silent(ACME, 3)
        place_on_step()
        (bad,) = of(BEST)
        silence([bad])
        deliver(PAY, [bad])
        empty()
        for _ in range(6):
            probe_round()
        assert called() == [bad, bad, trips[0], bad, bad, trips[1]]


class TestAProbeThatMoves:
    def moved(self):
        """Return trips of two silent destinations. The first has left its destination as its probe,
        and waits at the other one.
        """
        first, second = silent(ACME)
        best = silent(BEST)
        destinations[first] = BEST
        probe_round()
        assert row(first, PAY).destination == BEST
        calls.clear()
        return first, second, best

    def test_does_not_release_the_hold_that_it_left(self):
        first, _, best = self.moved()
        answer([first, *best])
        holds.release(TRIPS, step=PAY, destination=BEST)
        holds.resume(TRIPS)
        make_due()
        deliver(PAY, [first])
        assert state(first, PAY) == "done"
        released()
        assert on_hold() == [(PAY, ACME)]

    def test_does_not_wait_at_the_hold_that_it_left(self):
        first, _, best = self.moved()
        holds.release(TRIPS, step=PAY, destination=BEST)
        holds.resume(TRIPS)
        make_due()
        answer([first, *best])
        deliver(PAY, best)
        behaviour[PAY, first] = explode
        attempt([first], PAY)
        assert (state(first, PAY), row(first, PAY).destination) == ("waiting", BEST)
        assert counted(first, PAY) == 1

    def test_does_not_pass_the_hold_that_it_left(self):
        first, _, _ = self.moved()
        destinations[first] = ACME
        make_due()
        deliver(PAY, [first])
        assert (state(first, PAY), row(first, PAY).destination) == ("held", ACME)
        assert called() == []

    def test_keeps_its_place_in_the_turn_order(self):
        _, second, _ = self.moved()
        Hold.objects.filter(destination=BEST).update(probe_at=timezone.now() + timedelta(hours=1))
        Hold.objects.filter(destination=ACME).update(probe_at=timezone.now())
        assert hold_probes.send_probes(TRIPS) == {(PAY, ACME): second}

    def test_and_fails_at_another_hold_does_not_release_the_first(self):
        first, _ = silent(ACME)
        destinations[first] = BEST
        best = of(BEST)
        silence(best)

        def silence_best(_):
            automatic_holds.place(TRIPS, HoldScope(PAY, BEST), why="It is silent.")
            return Unknown("no answer")

        behaviour["trips.pay/call", first] = silence_best
        probe_round()
        assert (state(first, PAY), row(first, PAY).destination) == ("held", BEST)
        holds.release(TRIPS, step=PAY, destination=BEST)
        self.assert_an_answer_leaves_the_first_hold(first)

    def test_and_fails_while_the_step_goes_on_hold_does_not_release_the_first(self):
        first, _ = silent(ACME)
        destinations[first] = BEST

        def silence_step(_):
            place_on_step()
            return Unknown("no answer")

        behaviour["trips.pay/call", first] = silence_step
        probe_round()
        assert (state(first, PAY), row(first, PAY).destination) == ("held", BEST)
        holds.release(TRIPS, step=PAY)
        self.assert_an_answer_leaves_the_first_hold(first)

    def assert_an_answer_leaves_the_first_hold(self, first):
        holds.resume(TRIPS)
        make_due()
        answer([first])
        deliver(PAY, [first])
        assert state(first, PAY) == "done"
        released()
        assert on_hold() == [(PAY, ACME)]


class TestAProbeWithADamagedMessage:
    """The relay parks the message, and never sends it. The trips behind it must not wait for it."""

    @pytest.fixture(params=[ACME, ""], ids=["of a destination", "of the step"])
    def trips(self, request):
        trips = silent(ACME, 3)
        if not request.param:
            place_on_step()
        Inbox.objects.filter(saga=trips[0]).update(message={"damaged": True})
        probe_round()
        assert (state(trips[0], PAY), row(trips[0], PAY).send_at) == ("waiting", None)
        return trips

    def test_gives_way_to_the_next_probe(self, trips):
        _, second, _ = trips
        answer(trips)
        probe_round()
        assert called() == [second]
        assert state(second, PAY) == "done"

    def test_does_not_keep_a_hold_at_which_no_other_trip_waits(self, trips):
        Inbox.objects.filter(saga__in=trips[1:]).delete()
        probe_round()
        assert automatic_holds.in_force(TRIPS) == []


class TestOneCallAtATime:
    def test_after_an_operator_releases_the_step_whose_probe_calls(self):
        first, *_ = silent(ACME, 3)
        place_on_step()
        assert probes_due() == [(PAY, "")]
        lose(first)
        holds.release(TRIPS, step=PAY)
        assert probes_due() == []

    def test_after_an_operator_releases_the_destination_whose_probe_calls(self):
        first, *_ = silent(ACME, 3)
        assert probes_due() == [(PAY, ACME)]
        lose(first)
        place_on_step()
        holds.release(TRIPS, step=PAY, destination=ACME)
        assert probes_due() == []

    def test_after_an_operator_releases_the_step_whose_probe_is_only_sent(self):
        first, second, third = silent(ACME, 3)
        place_on_step()
        assert probes_due() == [(PAY, "")]
        holds.release(TRIPS, step=PAY)
        assert probes_due() == [(PAY, ACME)]
        deliver(PAY, [first, second, third])
        assert called() == [second]

    def test_after_an_operator_releases_the_step_whose_probe_is_being_claimed(self, monkeypatch):
        first, second, third = silent(ACME, 3)
        place_on_step()
        assert probes_due() == [(PAY, "")]

        def release_meanwhile(_, trip):
            if trip == first:
                elsewhere(lambda: holds.release(TRIPS, step=PAY))
                assert elsewhere(probes_due) == [(PAY, ACME)]
            return ACME

        with monkeypatch.context() as patched:
            patched.setattr(Pay, "destination", release_meanwhile)
            deliver(PAY, [first])
        deliver(PAY, [second, third])
        assert called() == [second]

    @pytest.mark.parametrize("stored", ["", BEST])
    def test_after_an_operator_releases_the_step_whose_probe_calls_elsewhere_than_stored(
        self, stored
    ):
        silent(ACME)
        place_on_step()
        (first,) = of(ACME)
        deliver(PAY, [first])
        Inbox.objects.filter(saga=first).update(destination=stored)
        assert probes_due() == [(PAY, "")]
        lose(first)
        holds.release(TRIPS, step=PAY)
        assert probes_due() == []

    def test_after_the_step_is_on_hold_again_whose_probe_still_calls(self):
        silent(ACME)
        place_on_step()
        first, second = of(ACME, 2)
        deliver(PAY, [first, second])
        assert probes_due() == [(PAY, "")]
        lose(first)
        holds.release(TRIPS, step=PAY)
        place_on_step()
        assert probes_due() == [(PAY, "")]
        deliver(PAY, [second])
        assert (state(second, PAY), called()) == ("held", [first])

    def test_a_release_waits_for_the_claim_of_a_probe(self):
        first, *_ = silent(ACME)
        place_on_step()
        assert probes_due() == [(PAY, "")]
        with transaction.atomic():
            assert hold_probes.begin_calls(TRIPS, PAY, {first: ACME}) == {first}
            assert elsewhere(free_holds) == [ACME]
        assert free_holds() == ["", ACME]

    def test_or_two_after_an_operator_releases_the_destination_beside_a_hold_of_the_step(self):
        first, *_ = silent(ACME)
        assert probes_due() == [(PAY, ACME)]
        lose(first)
        place_on_step()
        second, third = of(ACME, 2)
        deliver(PAY, [second, third])
        holds.release(TRIPS, step=PAY, destination=ACME)
        assert probes_due() == [(PAY, "")]
        lose(second)
        assert probes_due() == []
        assert called() == [first, second]


class TestARowThatIsLocked:
    """A claim or an answer locks the row of a probe, and the hold after it. A round that chooses
    probes locks the hold first, and must not wait for the row.
    """

    @pytest.fixture
    def probe(self):
        """Return the only trip that waits. It has tried its destination, and failed."""
        probe, other = silent(ACME)
        Inbox.objects.filter(saga=other, step=PAY).delete()
        probe_round()
        assert state(probe, PAY) == "held"
        return probe

    def test_is_not_waited_for_while_a_repeated_message_claims_it(self, probe):
        with transaction.atomic():
            inbox.claim(TRIPS, PAY, PLAN, messages_to(PAY, [probe]), final=False)
            assert elsewhere(probes_due) == []
            assert hold_probes.begin_calls(TRIPS, PAY, {probe: ACME}) == {probe}

    def test_is_not_waited_for_while_a_late_answer_moves_it(self, probe):
        with transaction.atomic():
            inbox.lock_open(TRIPS, PAY, [probe])
            assert elsewhere(probes_due) == []
            hold_probes.end_probes(TRIPS, PAY, {probe: BEST})
        assert Hold.objects.get().probed_at is None

    def test_keeps_its_turn(self, probe):
        before = Hold.objects.get()
        with transaction.atomic():
            inbox.lock_open(TRIPS, PAY, [probe])
            assert elsewhere(probes_due) == []
        after = Hold.objects.get()
        assert (after.probes, after.probed_at) == (before.probes, before.probed_at)
        assert probes_due() == [(PAY, ACME)]

    def test_of_a_hold_is_not_waited_for_by_its_automatic_release(self, probe):
        Inbox.objects.filter(saga=probe, step=PAY).update(
            state="done", updated_at=timezone.now() + timedelta(seconds=1)
        )
        with transaction.atomic():
            list(Hold.objects.select_for_update())
            assert elsewhere(lambda: hold_probes.release_proven(TRIPS)) == []
        [released_hold] = hold_probes.release_proven(TRIPS)
        assert released_hold.scope == (PAY, ACME)


def elsewhere(work):
    """Run a function in another thread, with connections of its own; return its result."""

    def run():
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as other:
        return other.submit(run).result(LIMIT)


def free_holds():
    """Return the destinations whose holds no other transaction has locked."""
    with transaction.atomic():
        free = Hold.objects.select_for_update(skip_locked=True)
        return sorted(free.values_list("destination", flat=True))


def test_a_locked_row_does_not_stop_the_others_of_a_batch(monkeypatch):
    silent(ACME)
    stopped = of(ACME, 2)
    deliver(PAY, stopped[:1])
    Inbox.objects.filter(saga=stopped[0]).update(destination=BEST)
    is_locked, is_over = threading.Event(), threading.Event()

    def keep_locked():
        with transaction.atomic():
            list(Inbox.objects.select_for_update().filter(saga=stopped[0], step=PAY))
            is_locked.set()
            is_over.wait(LIMIT)
        connections.close_all()

    thread = threading.Thread(target=keep_locked)
    store_held = held_calls.store_held

    def store_beside_lock(*args):
        if not is_locked.is_set():
            thread.start()
            assert is_locked.wait(LIMIT)
        return store_held(*args)

    monkeypatch.setattr(held_calls, "store_held", store_beside_lock)
    try:
        deliver(PAY, stopped)
        assert states(stopped) == ["held"] * 2
        assert row(stopped[1], PAY).destination == ACME
        assert row(stopped[0], PAY).destination == BEST
    finally:
        is_over.set()
        thread.join()
