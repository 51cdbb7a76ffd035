"""A claim belongs to one run and to one database session, and both are compared."""

from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.utils import timezone

from sagas.celery import tasks
from sagas.definition.handlers import Retry, Unknown, Waiting
from sagas.delivery import publisher
from sagas.execution.failures import Failure, record_failures
from sagas.storage import inbox
from tests.broker import empty, take
from tests.plugin import running
from tests.processes import until
from tests.trips.harness import (
    PLAN,
    TRIPS,
    begin,
    deliver,
    effects,
    fail,
    make_due,
    messages_to,
    row,
    state,
)
from tests.trips.models import Inbox, Watermark
from tests.trips.steps import behaviour

pytestmark = pytest.mark.django_db(transaction=True)

PAY = "trips.pay"


@pytest.fixture
def trip():
    (trip,) = begin()
    deliver("trips.book", [trip])
    return trip


def claim(*trips):
    return inbox.claim(TRIPS, PAY, PLAN, messages_to(PAY, trips), final=False)


def own_session():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )
        return cursor.fetchone()


def belongs_to(trip, pid, started):
    Inbox.objects.filter(saga=trip, step=PAY).update(session_pid=pid, session_started=started)


@contextmanager
def session_of(role=None):
    """Yield another session and (pid, backend_start) of it. It ends when the context does."""
    url = running().postgres.superuser_url
    name = connection.settings_dict["NAME"]
    with psycopg.connect(url, dbname=name, autocommit=True) as session:
        if role:
            session.execute(f"SET SESSION AUTHORIZATION {role}")
        yield session.execute(
            "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        ).fetchone()


def lose_session(trip):
    """Let the claim belong to a session that is gone."""
    with session_of() as (pid, started):
        belongs_to(trip, pid, started)
    until(lambda: not session_exists(pid), "the session is gone")


def session_exists(pid):
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_stat_get_activity(%s)", [pid])
        return cursor.rowcount > 0


def report(trip, *, claim, attempt=1, lost=False):
    failures = [
        Failure(
            message=message, attempt=attempt, error="boom", isolated=True, claim=claim, lost=lost
        )
        for message in messages_to(PAY, [trip])
    ]
    record_failures(PLAN, PAY, failures)


def test_a_claim_names_its_token_and_the_session_that_made_it(trip):
    claims = claim(trip)
    claimed = row(trip, PAY)
    assert (claimed.claim, claims.uncounted) == (claims.claim, {trip: 0})
    assert (claimed.session_pid, claimed.session_started) == own_session()


def test_a_step_that_commits_with_its_claim_names_neither_token_nor_session(trip):
    booked = row(trip, "trips.book")
    assert (booked.claim, booked.session_pid, booked.session_started) == (None, None, None)


def test_a_row_that_is_no_longer_started_has_no_claim(trip):
    deliver(PAY, [trip])
    paid = row(trip, PAY)
    assert (paid.state, paid.claim, paid.session_pid) == ("done", None, None)


def test_the_lease_is_extended_for_the_rows_that_the_run_still_holds(trip, settings):
    other, taken = begin(2)
    deliver("trips.book", [other, taken])
    claims = claim(trip, other, taken)
    Inbox.objects.filter(saga=taken, step=PAY).update(claim=uuid4())
    settings.SAGA_LEASE_SECONDS = 600
    assert inbox.extend(TRIPS, claims.claim, [trip, taken]) == {trip}
    soon = timezone.now() + timedelta(seconds=django_settings.SAGA_LEASE_SECONDS / 2)
    extended = Inbox.objects.filter(step=PAY, due_at__gt=soon, send_at__gt=soon)
    assert list(extended.values_list("saga", flat=True)) == [trip]


def test_an_extended_lease_belongs_to_the_session_that_extends_it(trip):
    claims = claim(trip)
    with session_of() as (pid, started):
        belongs_to(trip, pid, started)
        inbox.extend(TRIPS, claims.claim, [trip])
    assert (row(trip, PAY).session_pid, row(trip, PAY).session_started) == own_session()
    assert inbox.free_lost(TRIPS) == 0


def test_a_claim_whose_session_is_gone_is_due_at_once(trip):
    claim(trip)
    lose_session(trip)
    assert inbox.free_lost(TRIPS) == 1
    (due,) = inbox.claim_due(TRIPS, limit=10)
    assert (due.stored.message.saga, due.attempts, due.losses) == (trip, 1, 1)
    deliver(PAY, [trip], attempt=1)
    assert (state(trip, PAY), effects(trip)) == ("done", ["trips.book", PAY])


def test_a_claim_whose_process_id_belongs_to_a_later_session_is_free(trip):
    claim(trip)
    pid, started = own_session()
    belongs_to(trip, pid, started - timedelta(seconds=1))
    assert inbox.free_lost(TRIPS) == 1


def test_a_claim_of_a_living_session_keeps_its_lease(trip):
    claim(trip)
    with session_of() as (pid, started):
        belongs_to(trip, pid, started)
        assert inbox.free_lost(TRIPS) == 0


def test_a_claim_of_another_roles_session_keeps_its_lease(trip):
    """PostgreSQL hides when the session of another role started, so it may be the claim's."""
    claim(trip)
    with session_of() as (pid, started):
        belongs_to(trip, pid, started - timedelta(hours=1))
        assert inbox.free_lost(TRIPS) == 0
    until(lambda: inbox.free_lost(TRIPS) == 1, "the claim is freed once the session is gone")


def test_a_claim_of_the_release_before_keeps_its_lease(trip):
    claim(trip)
    Inbox.objects.filter(step=PAY).update(claim=None, session_pid=None, session_started=None)
    assert inbox.free_lost(TRIPS) == 0
    fail(PAY, [trip])
    assert (state(trip, PAY), row(trip, PAY).attempts) == ("waiting", 1)


def test_the_pause_grows_with_each_lost_process(trip):
    pauses = []
    for _ in range(4):
        make_due()
        claim(trip)
        lose_session(trip)
        before = timezone.now()
        inbox.free_lost(TRIPS)
        pauses.append(round((row(trip, PAY).due_at - before).total_seconds()))
    assert pauses == [0, 1, 2, 4]
    assert (row(trip, PAY).attempts, row(trip, PAY).losses) == (4, 4)


def test_the_lost_duplicate_of_a_run_does_not_end_the_lease_of_the_other(trip):
    claim(trip)
    report(trip, claim=None, lost=True)
    assert (state(trip, PAY), row(trip, PAY).losses) == ("started", 0)


def test_a_report_of_a_claim_that_was_taken_over_does_not_count(trip):
    first = claim(trip)
    make_due()
    second = claim(trip)
    report(trip, claim=first.claim, attempt=2)
    assert (state(trip, PAY), row(trip, PAY).claim) == ("started", second.claim)
    report(trip, claim=second.claim, attempt=2)
    assert (state(trip, PAY), row(trip, PAY).attempts) == ("waiting", 2)


def test_a_report_of_a_claim_counts_once_even_after_an_agreed_wait(trip):
    claims = claim(trip)
    report(trip, claim=claims.claim)
    inbox.reset_attempts(TRIPS, PAY, [trip])
    report(trip, claim=claims.claim)
    assert (state(trip, PAY), row(trip, PAY).attempts) == ("waiting", 0)


def test_a_report_of_a_claim_without_a_row_counts_nothing(trip):
    report(trip, claim=uuid4())
    assert state(trip, PAY) is None


def test_lost_processes_do_not_bring_a_step_closer_to_its_limit(trip, settings):
    for _ in range(settings.SAGA_STEP_ATTEMPTS):
        make_due()
        claim(trip)
        lose_session(trip)
        inbox.free_lost(TRIPS)
    make_due()
    behaviour["trips.pay/call", trip] = lambda _: Retry("The bank is busy.")
    behaviour[PAY, trip] = lambda _: Retry("The bank is busy.")
    deliver(PAY, [trip])
    waiting = row(trip, PAY)
    assert (waiting.state, waiting.attempts) == ("waiting", settings.SAGA_STEP_ATTEMPTS + 1)


def test_losses_that_are_excused_are_not_taken_off_the_attempts_twice(trip):
    for _ in range(2):
        make_due()
        claim(trip)
        lose_session(trip)
        inbox.free_lost(TRIPS)
    make_due()
    report(trip, claim=claim(trip).claim, attempt=3)
    inbox.excuse(TRIPS, PAY, [trip])
    for number in range(2):
        make_due()
        claims = claim(trip)
        assert (claims.attempts[trip], claims.uncounted[trip]) == (4 + number, 3)
        report(trip, claim=claims.claim, attempt=1 + number)


def test_losses_before_an_agreed_wait_are_not_taken_off_the_attempts_after_it(trip):
    claim(trip)
    lose_session(trip)
    inbox.free_lost(TRIPS)
    behaviour["trips.pay/call", trip] = lambda _: Waiting("The traveller has not paid yet.")
    deliver(PAY, [trip])
    make_due()
    assert claim(trip).uncounted == {trip: 0}


def test_a_claim_that_is_taken_over_after_its_lease_counts_as_a_loss(trip):
    claim(trip)
    make_due()
    assert (claim(trip).uncounted, row(trip, PAY).attempts) == ({trip: 1}, 2)


def test_an_answer_that_decides_nothing_does_not_end_the_lease_of_another_run(trip):
    def taken_over(_):
        make_due()
        claim(trip)
        return Unknown("The gateway did not answer.")

    behaviour["trips.pay/call", trip] = taken_over
    deliver(PAY, [trip])
    held = row(trip, PAY)
    assert (held.state, held.attempts, held.error) == ("started", 2, "")
    assert held.claim is not None


def test_an_agreed_wait_of_one_run_does_not_reset_the_attempts_of_another(trip):
    def taken_over(_):
        make_due()
        claim(trip)
        return Waiting("The traveller has not paid yet.")

    behaviour["trips.pay/call", trip] = taken_over
    deliver(PAY, [trip])
    assert (state(trip, PAY), row(trip, PAY).attempts) == ("started", 2)


def test_a_definite_answer_is_recorded_whichever_run_holds_the_claim(trip):
    def taken_over(_):
        make_due()
        claim(trip)

    behaviour["trips.pay/call", trip] = taken_over
    deliver(PAY, [trip])
    assert (state(trip, PAY), row(trip, PAY).claim) == ("done", None)


def test_the_answer_of_a_freed_claim_is_recorded(trip):
    def freed(_):
        lose_session(trip)
        inbox.free_lost(TRIPS)

    behaviour["trips.pay/call", trip] = freed
    deliver(PAY, [trip])
    assert (state(trip, PAY), effects(trip)) == ("done", ["trips.book", PAY])


def test_batches_shrink_with_the_processes_that_were_lost(trip, settings):
    settings.OUTBOX_BATCH_SIZE = 100
    trips = [trip, *begin(7)]
    deliver("trips.book", trips)
    claim(*trips)
    Inbox.objects.filter(step=PAY).update(losses=2, attempts=0)
    make_due()
    empty()
    publisher.resend(TRIPS, inbox.claim_due(TRIPS, limit=100))
    sizes = [len(sent.args[2]) for sent in take("trips") if sent.task == "sagas.run_step"]
    assert sizes == [6, 2]


def test_a_flush_frees_the_claims_of_lost_sessions_and_sends_their_steps(trip):
    claim(trip)
    lose_session(trip)
    empty()
    tasks.flush("trips")
    sent = [each.args[0] for each in take("trips") if each.task == "sagas.run_step"]
    assert PAY in sent


def test_a_step_that_a_lost_process_had_claimed_can_be_marked_as_done_at_once(trip):
    claim(trip)
    assert inbox_lock(trip).leased
    lose_session(trip)
    assert not inbox_lock(trip).leased


def inbox_lock(trip):
    with transaction.atomic():
        return inbox.lock(TRIPS, PAY, trip)


def test_a_lost_process_counts_once_whether_its_claim_was_freed_or_not(trip):
    claim(trip)
    lose_session(trip)
    report(trip, claim=None, lost=True)
    assert (state(trip, PAY), row(trip, PAY).losses) == ("waiting", 1)
    make_due()
    claim(trip)
    lose_session(trip)
    inbox.free_lost(TRIPS)
    report(trip, claim=None, lost=True, attempt=2)
    assert (state(trip, PAY), row(trip, PAY).attempts, row(trip, PAY).losses) == ("waiting", 2, 2)


def test_a_postponed_message_waits_without_an_attempt_and_is_sent_later(trip):
    assert inbox.postpone(TRIPS, PAY, PLAN, messages_to(PAY, [trip]), due_in=600) == {trip}
    waiting = row(trip, PAY)
    assert (waiting.state, waiting.attempts) == ("waiting", 0)
    assert waiting.send_at - waiting.due_at >= timedelta(seconds=590)
    assert inbox.claim_due(TRIPS, limit=10) == []
    deliver(PAY, [trip])
    assert state(trip, PAY) == "done"


def test_a_message_is_not_postponed_if_its_row_is_final_or_leased(trip):
    claim(trip)
    assert inbox.postpone(TRIPS, PAY, PLAN, messages_to(PAY, [trip]), due_in=600) == set()
    assert state(trip, PAY) == "started"
    booked = messages_to("trips.book", [trip])
    assert inbox.postpone(TRIPS, "trips.book", PLAN, booked, due_in=600) == set()
    assert (state(trip, "trips.book"), row(trip, "trips.book").send_at) == ("done", None)


def test_postponing_a_due_row_moves_only_the_time_at_which_it_is_sent(trip):
    claims = claim(trip)
    report(trip, claim=claims.claim)
    make_due()
    before = row(trip, PAY)
    inbox.postpone(TRIPS, PAY, PLAN, messages_to(PAY, [trip]), due_in=600)
    after = row(trip, PAY)
    assert (after.state, after.attempts, after.due_at) == ("waiting", 1, before.due_at)
    assert after.send_at > before.send_at + timedelta(seconds=590)


def test_a_postponed_message_of_a_purged_saga_is_parked(trip):
    Watermark.objects.create(home="trips", before=timezone.now() + timedelta(hours=1))
    inbox.postpone(TRIPS, PAY, PLAN, messages_to(PAY, [trip]), due_in=1)
    assert (state(trip, PAY), row(trip, PAY).send_at) == ("waiting", None)
