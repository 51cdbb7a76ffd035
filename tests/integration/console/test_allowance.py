"""One person's refunds count together: by rolling day, in each currency, from every surface."""

from datetime import timedelta
from functools import partial

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from backoffice.staff_cancel import cancel_as_staff
from config.refund_limits import refund_limits
from console import retention
from console.bulk_actions import runs
from console.bulk_actions.allowance import exceeded_allowances, limit_of, lock_allowance
from console.bulk_actions.results import NotAllowed
from console.models import Run
from orders.models import Order
from orders.status import Status
from payments.models import Inbox, Payment
from staff.models import LogEntry
from tests.integration.console.operators import confirmed, member, paid, stuck, work
from tests.integration.races import at_once, blocked_behind

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("flushed"),
]


def paid_in(currency: str, amount: int) -> Order:
    """Return an order that was charged this amount in a currency."""
    order = paid(amount)
    Payment.objects.filter(order_id=order.id).update(currency=currency)
    return order


def cancelled(amount, *, by):
    """Have a person confirm the cancel of one order, and return the state of the run."""
    return confirmed("cancel", paid(amount), by=by).state


def confirmed_ago(run, **ago):
    Run.objects.filter(id=run.id).update(confirmed_at=timezone.now() - timedelta(**ago))


class TestPersonAndDay:
    def test_three_cancels_below_the_limit_are_above_it_together(self, olga):
        states = [cancelled(amount, by=olga) for amount in (80_100, 89_000, 97_900)]
        assert states == ["running", "awaiting", "awaiting"]

    def test_a_smaller_refund_still_fits_after_one_that_did_not(self, olga):
        states = [cancelled(amount, by=olga) for amount in (80_100, 89_000, 19_900, 1)]
        assert states == ["running", "awaiting", "running", "awaiting"]

    def test_refunds_count_for_24_hours_and_not_longer(self, olga):
        run = confirmed("cancel", paid(80_000), by=olga)
        confirmed_ago(run, hours=23, minutes=59)
        assert cancelled(20_001, by=olga) == "awaiting"
        confirmed_ago(run, hours=24, seconds=1)
        assert cancelled(20_001, by=olga) == "running"

    def test_another_person_has_an_allowance_of_their_own(self, olga):
        assert cancelled(100_000, by=olga) == "running"
        assert cancelled(100_000, by=member("oscar", "operator")) == "running"

    def test_the_console_and_the_api_count_together(self, olga):
        assert not cancel_as_staff(paid(60_000).id, by=olga, reason="She called.").awaiting_approval
        assert cancelled(60_000, by=olga) == "awaiting"
        assert cancel_as_staff(paid(60_000).id, by=olga, reason="He called.").awaiting_approval

    def test_a_refund_marked_as_done_by_hand_counts_as_well(self, olga):
        order = paid(60_000)
        Inbox.objects.create(
            saga=order.id,
            saga_started_at=order.created_at,
            step="payments.refund",
            state="waiting",
            attempts=3,
        )
        run = runs.draft("by_hand", [order.id], by=olga, step="payments.refund")
        seen = runs.preview(run).fingerprint
        runs.confirm(run.id, by=olga, reason="Paid back.", reference="re_1", fingerprint=seen)
        assert cancelled(60_000, by=olga) == "awaiting"

    def test_charges_of_unknown_outcome_count(self, olga):
        unknown = paid(60_000)
        Payment.objects.filter(order_id=unknown.id).update(
            status="pending", charge_id=None, captured_amount=None
        )
        assert confirmed("cancel", unknown, by=olga).state == "running"
        assert cancelled(60_000, by=olga) == "awaiting"

    def test_a_run_counts_as_confirmed_also_where_the_order_needed_nothing(self, olga):
        order = paid(60_000)
        run = confirmed("cancel", order, by=olga)
        Order.objects.filter(id=order.id).update(status=Status.FULFILLED)
        work()
        assert run.items.get().state == "nothing"
        assert cancelled(60_000, by=olga) == "awaiting"

    def test_drafts_and_actions_without_refunds_do_not_count(self, olga):
        runs.draft("cancel", [paid(100_000).id], by=olga)
        confirmed("retry", stuck(), by=olga)
        assert cancelled(100_000, by=olga) == "running"

    def test_a_run_without_refunds_needs_no_second_person_however_much_was_refunded(self, olga):
        cancelled(100_000, by=olga)
        assert confirmed("retry", stuck(), by=olga).state == "running"
        assert confirmed("cancel", stuck(), by=olga).state == "running"

    def test_runs_that_a_second_person_decided_on_do_not_count(self, olga, anna):
        approved, declined = (confirmed("cancel", paid(200_000), by=olga) for _ in range(2))
        runs.approve(approved.id, by=anna, fingerprint=runs.preview(approved).fingerprint)
        runs.decline(declined.id, by=anna)
        work()
        assert cancelled(100_000, by=olga) == "running"

    def test_a_run_that_waits_for_approval_does_not_count(self, olga):
        assert cancelled(200_000, by=olga) == "awaiting"
        assert cancelled(100_000, by=olga) == "running"

    def test_runs_that_count_are_not_purged(self, olga, settings):
        settings.CONSOLE_RUN_DAYS = 0
        run = confirmed("cancel", paid(60_000), by=olga)
        work()
        confirmed_ago(run, hours=23)
        Run.objects.update(ended_at=timezone.now() - timedelta(hours=23))
        retention.purge()
        assert cancelled(60_000, by=olga) == "awaiting"


class TestRaces:
    def test_two_confirmations_at_once_do_not_both_pass(self, olga):
        drafts = [runs.draft("cancel", [paid(60_000).id], by=olga) for _ in range(4)]
        seen = {run.id: runs.preview(run).fingerprint for run in drafts}

        def confirm(run):
            fingerprint = seen[run.id]
            return runs.confirm(run.id, by=olga, reason="Wrong.", fingerprint=fingerprint).state

        states = at_once([partial(confirm, run) for run in drafts])
        assert sorted(states) == ["awaiting", "awaiting", "awaiting", "running"]

    def test_a_confirmation_waits_for_another_of_the_same_person(self, olga):
        order = paid(60_000)
        run = runs.draft("cancel", [order.id], by=olga)
        seen = runs.preview(run).fingerprint

        with transaction.atomic():
            lock_allowance(olga)
            waiting = blocked_behind(
                "default",
                lambda: runs.confirm(run.id, by=olga, reason="Wrong.", fingerprint=seen).state,
            )
            Run.objects.create(
                action="cancel",
                state="running",
                reason="Wrong.",
                requested_by=olga,
                radius={"refunds": {"eur": 60_000}},
                confirmed_at=timezone.now(),
            )
        assert waiting.result(timeout=30) == "awaiting"

    def test_a_person_may_place_an_order_while_a_confirmation_holds_the_lock(self, olga):
        from tests.integration.orders import harness  # noqa: PLC0415

        with transaction.atomic():
            lock_allowance(olga)
            [placed] = at_once([lambda: harness.order(of="olga")])
        assert Order.objects.filter(id=placed.id, user=olga).exists()


class TestCurrencies:
    @pytest.fixture(autouse=True)
    def figures(self, settings):
        settings.CONSOLE_REFUND_LIMITS = {"kwd": 300_000, "jpy": 150_000}

    @pytest.mark.parametrize(
        ("currency", "limit"),
        [("kwd", 300_000), ("jpy", 150_000), ("eur", 100_000), ("bhd", None), ("krw", None)],
    )
    def test_a_currency_has_its_own_limit_and_one_without_hundredths_has_none(
        self, currency, limit
    ):
        assert limit_of(currency) == limit

    def test_each_currency_counts_against_its_own_limit(self, olga):
        def state(currency, amount):
            return confirmed("cancel", paid_in(currency, amount), by=olga).state

        assert state("eur", 100_000) == "running"
        assert state("kwd", 200_000) == "running"
        assert state("kwd", 100_001) == "awaiting"
        assert state("jpy", 150_000) == "running"
        assert state("jpy", 1) == "awaiting"

    def test_a_currency_without_a_limit_of_its_own_always_needs_a_second_person(self, olga):
        run = confirmed("cancel", paid_in("bhd", 1), by=olga)
        assert run.state == "awaiting"
        assert [found.in_words for found in exceeded_allowances(run)] == [
            "BHD has no limit of its own, so each refund in it needs a second person."
            " This run may refund 0.001 BHD."
        ]

    def test_the_setting_is_read_by_currency(self):
        assert refund_limits(["eur:100000", " KWD:300000 "]) == {"eur": 100_000, "kwd": 300_000}

    @pytest.mark.parametrize(
        "entries",
        [["eur"], ["eur:-1"], ["eur:1.5"], ["euro:1"], ["eur:1", "EUR:2"], ["eur:٣"], [""]],
    )
    def test_a_malformed_setting_stops_the_start_and_names_itself(self, entries):
        with pytest.raises(ImproperlyConfigured, match="CONSOLE_REFUND_LIMITS"):
            refund_limits(entries)


class TestReasons:
    def test_the_run_and_the_log_have_the_reason_for_a_second_person(self, olga):
        cancelled(80_100, by=olga)
        run = confirmed("cancel", paid(89_000), by=olga)
        [reason] = [found.in_words for found in exceeded_allowances(Run.objects.get(id=run.id))]
        assert reason == (
            "One person may refund 1,000.00 EUR within 24 hours. Earlier runs: 801.00 EUR."
            " This run adds 890.00 EUR: 691.00 EUR too much."
        )
        assert reason in LogEntry.objects.get(run=run.id, what="awaiting").outcome

    def test_a_preview_shows_used_added_and_limit_and_says_if_a_second_person_is_needed(
        self, operator, olga
    ):
        cancelled(80_100, by=olga)
        run = runs.draft("cancel", [paid(89_000).id], by=olga)
        page = operator.get(f"/admin/console/run/{run.id}/change/").content.decode()
        for text in ("801.00 EUR", "890.00 EUR", "1,000.00 EUR", "691.00 EUR too much", "needed"):
            assert text in page
        small = runs.draft("cancel", [paid(10_000).id], by=olga)
        page = operator.get(f"/admin/console/run/{small.id}/change/").content.decode()
        assert "not needed" in page
        assert "waits for a second person" not in page

    def test_a_run_that_waits_since_the_last_release_says_so_without_figures(self, client, olga):
        run = confirmed("cancel", paid(200_000), by=olga)
        Run.objects.update(over_limit=None)
        client.force_login(member("vera", "viewer"))
        page = client.get(f"/admin/console/run/{run.id}/change/").content.decode()
        assert "Its refunds may exceed the limit of one person." in page


class TestDecisions:
    @pytest.fixture
    def waiting(self, olga):
        return confirmed("cancel", paid(200_000), by=olga)

    def test_the_log_names_the_approver_with_each_outcome(self, waiting, anna):
        runs.approve(waiting.id, by=anna, fingerprint=runs.preview(waiting).fingerprint)
        work()
        entries = LogEntry.objects.filter(run=waiting.id).order_by("id")
        assert list(entries.values_list("who", "what", "approver")) == [
            ("olga", "awaiting", ""),
            ("anna", "approved", "anna"),
            ("olga", "acted", "anna"),
            ("olga", "ended", "anna"),
        ]

    @pytest.mark.parametrize("decide", [runs.approve, runs.decline])
    @pytest.mark.parametrize("change", ["deactivated", "no longer an approver"])
    def test_an_approver_must_be_one_at_that_moment(self, waiting, anna, decide, change):
        given = {"fingerprint": runs.preview(waiting).fingerprint} if decide == runs.approve else {}
        assert anna.has_perm("console.approve_run")  # as the page had read it
        if change == "deactivated":
            type(anna).objects.filter(pk=anna.pk).update(is_active=False)
        else:
            Group.objects.get(name="approver").user_set.remove(anna)
        with pytest.raises(NotAllowed, match="Approve or decline"):
            decide(waiting.id, by=anna, **given)

    def test_a_run_of_a_person_without_the_permission_can_only_be_declined(
        self, waiting, olga, anna
    ):
        olga.is_active = False
        olga.save()
        seen = runs.preview(waiting).fingerprint
        with pytest.raises(NotAllowed, match="Decline the run"):
            runs.approve(waiting.id, by=anna, fingerprint=seen)
        assert runs.decline(waiting.id, by=anna).state == "declined"
