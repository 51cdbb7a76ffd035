"""Money in the console: owed, of unknown outcome, disputed, and different at the gateway."""

import re
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from audit.models import AuditRun, Finding
from backoffice.discrepancies import close_discrepancy
from orders.models import Hold as OrdersHold
from orders.status import Status
from payments.models import Drift, Payment, Reconciliation
from staff.models import LogEntry
from staff.writes import Rejected
from tests.integration.console.operators import member
from tests.integration.console.payments_rows import (
    capture_waits,
    discrepancy,
    dispute,
    owed,
    payment,
)
from tests.integration.orders import harness
from tests.integration.races import at_once

LIVE = "/admin/live/"
PAYMENTS = "/admin/payments/payment/"
DIFFERENCES = "/admin/payments/drift/"

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def tiles(client):
    """Return the tiles about money on the start page by their name."""
    return {tile.name: tile for tile in client.get(LIVE).context["money"]}


def order_page(client, order):
    """Return the text of an order's page."""
    return client.get(f"/admin/orders/order/{order.id}/change/").content.decode()


def facts(client, order):
    """Return the facts about the payment on an order's page."""
    page = client.get(f"/admin/orders/order/{order.id}/change/")
    return dict(page.context["detail"].payment_facts)


def rows(client, **query):
    """Return the orders of the payments in the list."""
    page = client.get(PAYMENTS, query)
    return [row.order_id for row in page.context["cl"].result_list]


class TestStartPage:
    def test_without_any_payment_each_tile_says_none(self, viewer):
        shown = {name: tile.value for name, tile in tiles(viewer).items()}
        assert shown == {
            "unsettled": "none",
            "unknown": "none",
            "owed": "none",
            "disputes": "none",
            "discrepancies": "none",
            "reconciliation": "never",
            "audit": "never",
        }

    def test_money_owed_to_customers_is_shown_by_currency_with_its_age(self, viewer):
        owed(ago=7_200), owed(ago=60), owed(currency="jpy", owed_amount=300)
        shown = tiles(viewer)
        assert (shown["owed-eur"].value, shown["owed-eur"].tone) == ("25.00 EUR", "bad")
        assert "2 payments, oldest 2.0 h" in shown["owed-eur"].note
        assert shown["owed-jpy"].value == "300 JPY"
        assert "owed" not in shown

    def test_a_charge_of_unknown_outcome_counts_from_the_first_minute(self, viewer):
        payment(harness.order().id, amount=26_100, ago=5)
        shown = tiles(viewer)
        assert (shown["unknown-eur"].value, shown["unknown-eur"].tone) == ("261.00 EUR", "slow")
        assert (shown["unsettled"].value, shown["unsettled"].note) == (
            "none known",
            "but some charges are of unknown outcome",
        )
        assert "no open order has captured money" not in viewer.get(LIVE).content.decode()

    def test_a_payment_that_waits_as_agreed_is_not_of_unknown_outcome(self, viewer):
        later = timezone.now() + timedelta(days=3)
        payment(action_expires_at=later), payment(expected_at=later)
        assert tiles(viewer)["unknown"].value == "none"

    def test_a_deadline_that_has_passed_is_no_agreement_any_more(self, viewer):
        past = timezone.now() - timedelta(minutes=10)
        payment(expected_at=past, ago=86_400)
        shown = tiles(viewer)["unknown-eur"]
        assert "oldest 10.0 min" in shown.note
        assert shown.tone == "bad"

    def test_a_capture_without_an_answer_is_of_unknown_outcome(self, viewer):
        until = timezone.now() + timedelta(days=4)
        waits = payment(status="authorized", authorization_expires_at=until)
        payment(status="authorized", authorization_expires_at=until)
        assert tiles(viewer)["unknown"].value == "none"
        capture_waits(waits.order_id)
        assert "1 payment," in tiles(viewer)["unknown-eur"].note
        assert rows(viewer, money="unknown") == [waits.order_id]

    def test_open_disputes_have_their_next_deadline(self, viewer):
        soon = timezone.now() + timedelta(hours=30)
        one, two = (payment(status="captured") for _ in range(2))
        dispute(one, respond_by=soon), dispute(two, respond_by=soon + timedelta(days=9))
        dispute(payment(status="captured"), status="won")
        shown = tiles(viewer)["disputes-eur"]
        assert (shown.value, shown.note) == ("25.00 EUR", "2 disputes, next evidence due in 30.0 h")

    def test_open_differences_are_counted_by_kind(self, viewer):
        discrepancy(), discrepancy(kind="uncharged")
        discrepancy(closed_at=timezone.now(), closed_by="ann", closed_why="A gift.")
        shown = tiles(viewer)["discrepancies"]
        assert (shown.value, shown.tone) == ("2", "bad")
        assert "1 × amounts differ" in shown.note
        assert viewer.get(shown.link).context["cl"].result_count == 2

    def test_the_last_reconciliation_and_the_last_audit_show_their_result(self, viewer):
        now = timezone.now()
        Reconciliation.objects.create(
            since=now - timedelta(hours=2), until=now - timedelta(hours=1), movements=3, drifts=0
        )
        AuditRun.objects.create(since=now, until=now, finished_at=now)
        assert tiles(viewer)["audit"].note == "no violation was found"
        Finding.objects.create(invariant="I6", subject="MUG", detail="on hand -1")
        shown = tiles(viewer)
        assert shown["reconciliation"].value.endswith("ago")
        assert shown["reconciliation"].tone == ""
        audit = shown["audit"]
        assert (audit.tone, audit.note) == ("bad", "1 violation of invariants")

    def test_a_reconciliation_that_is_overdue_stands_out(self, viewer):
        past = timezone.now() - timedelta(hours=5)
        Reconciliation.objects.create(
            since=past, until=past, movements=3, drifts=0, finished_at=past
        )
        assert tiles(viewer)["reconciliation"].tone == "bad"

    def test_without_the_database_of_payments_every_tile_says_unknown(self, viewer, renamed):
        renamed("payments", "payments_payment")
        shown = tiles(viewer)
        assert {
            name: tile.value for name, tile in shown.items() if name != "audit"
        } == dict.fromkeys(
            ("unsettled", "unknown", "owed", "disputes", "discrepancies", "reconciliation"),
            "unknown",
        )

    def test_money_is_shown_where_the_orders_cannot_be_counted(self, viewer, renamed):
        owed()
        renamed("default", "orders_order")
        page = viewer.get(LIVE)
        assert page.context["orders"] is None
        assert "12.50 EUR" in page.content.decode()

    def test_orders_that_are_all_on_hold_have_no_age(self, viewer):
        OrdersHold.objects.create(saga=harness.order().id, by="olga", why="The address is odd.")
        page = viewer.get(LIVE).content.decode()
        assert "all on hold or waiting as agreed" in page
        assert "oldest 0 ms" not in page


class TestList:
    def test_a_bounced_refund_is_never_just_captured_or_refunded(self, viewer):
        row = owed(refunded_amount=250, owed_amount=1_000, follow_error="The account is closed.")
        payment(status="captured")
        page = viewer.get(PAYMENTS).content.decode()
        for text in ("owed to the customer", "10.00 EUR", "The account is closed."):
            assert text in page
        assert rows(viewer, money="owed") == [row.order_id]

    def test_a_disputed_payment_shows_its_dispute(self, viewer):
        row = payment(status="captured", dispute_status="open", disputed_amount=1_250)
        payment(status="captured", dispute_status="won")
        assert "open, 12.50 EUR withdrawn" in viewer.get(PAYMENTS).content.decode()
        assert rows(viewer, money="disputed") == [row.order_id]

    def test_the_captured_amount_of_an_undecided_payment_is_unknown(self, viewer):
        payment()
        assert re.search(r">\s*unknown\s*<", viewer.get(PAYMENTS).content.decode())

    def test_disputes_and_differences_are_in_the_menu(self, viewer):
        menu = {
            item["title"]: item["link"]
            for group in viewer.get("/admin/").context["sidebar_navigation"]
            for item in group["items"]
        }
        dispute(payment(status="captured"), reason="product_not_received")
        assert "product_not_received" in viewer.get(menu["Disputes"]).content.decode()
        assert menu["Differences"] == f"{DIFFERENCES}?closed_at__isempty=1"


class TestOrderPage:
    def test_a_goodwill_refund_is_shown_with_the_rest_that_remains(self, viewer):
        order = harness.order(Status.FULFILLED)
        payment(order.id, status="captured", refunded_amount=250)
        shown = facts(viewer, order)
        assert (shown["Captured"], shown["Refunded"], shown["Remaining with us"]) == (
            "12.50 EUR",
            "2.50 EUR",
            "10.00 EUR",
        )

    def test_another_amount_than_the_order_is_said_to_be_another(self, viewer):
        order = harness.order(Status.CANCELLING)
        payment(order.id, status="captured", captured_amount=500)
        assert facts(viewer, order)["Captured"] == "5.00 EUR, which is not the amount of the order"

    def test_a_payment_of_unknown_outcome_is_unknown(self, viewer):
        order = harness.order()
        payment(order.id)
        assert facts(viewer, order)["Captured"].startswith("unknown:")

    def test_a_payment_that_waits_for_the_bank_says_until_when(self, viewer):
        order = harness.order()
        payment(order.id, expected_at="2099-01-02T03:04:05Z")
        shown = facts(viewer, order)
        assert (shown["Captured"], shown["Bank decides until"]) == (
            "not yet",
            "2099-01-02 03:04:05 UTC",
        )

    def test_money_owed_a_dispute_and_a_difference_each_raise_an_alarm(self, viewer):
        order = harness.order(Status.CANCELLED)
        row = owed(order.id, dispute_status="open", disputed_amount=250, owed_amount=1_000)
        dispute(row, amount=250, respond_by="2099-01-02T03:04:05Z")
        discrepancy(order.id)
        page = order_page(viewer, order)
        for text in (
            "10.00 EUR are owed to the customer",
            "The customer disputes 2.50 EUR: fraudulent. Send evidence",
            "Reconciliation found a difference.",
        ):
            assert text in page
        assert facts(viewer, order)["Disputed"] == "2.50 EUR withdrawn; dispute open"

    def test_evidence_is_not_asked_for_after_its_time(self, viewer):
        order = harness.order(Status.FULFILLED)
        row = payment(order.id, status="captured", dispute_status="open", disputed_amount=1_250)
        dispute(row, respond_by="2020-01-02T03:04:05Z")
        page = order_page(viewer, order)
        assert "The time for evidence ended at 2020-01-02 03:04 UTC." in page
        assert "Send evidence" not in page

    def test_a_violation_that_the_audit_found_raises_an_alarm(self, viewer):
        order = harness.order(Status.CANCELLED)
        Finding.objects.create(invariant="I3", subject=str(order.id), detail="It was paid.")
        assert "The audit found a violation of I3: It was paid." in order_page(viewer, order)
        listed = viewer.get(tiles(viewer)["audit"].link).content.decode()
        assert f"/admin/orders/order/{order.id}/change/" in listed

    def test_a_closed_difference_raises_no_alarm(self, viewer):
        order = harness.order(Status.CANCELLED)
        discrepancy(order.id, closed_at=timezone.now(), closed_by="ann", closed_why="A gift.")
        assert "Reconciliation found" not in order_page(viewer, order)

    def test_a_paid_order_without_a_payment_is_not_said_to_be_without_a_charge(self, viewer):
        page = order_page(viewer, harness.order(Status.PAID))
        assert "its row of the payment is missing" in page
        assert "No payment yet" not in page
        assert "No payment yet" in order_page(viewer, harness.order())

    def test_without_the_database_of_a_service_its_rows_are_unknown(self, viewer, renamed):
        order = harness.order()
        renamed("payments", "payments_payment"), renamed("inventory", "inventory_reservation")
        page = order_page(viewer, order)
        for service in ("payments", "inventory"):
            assert f"Unknown: the database of {service} does not answer." in page
        assert "No payment yet" not in page
        assert "No stock is reserved" not in page


class TestClosing:
    def test_an_approver_closes_a_difference_with_a_reason_that_the_log_keeps(self, client):
        found = discrepancy(harness.order().id)
        client.force_login(member("anna", "approver"))
        page = f"{DIFFERENCES}{found.id}/change/"
        assert client.post(page, {"closed_why": ""}).status_code == 200
        assert not LogEntry.objects.exists()
        assert client.post(page, {"closed_why": "Refunded as a gift."}).status_code == 302
        found.refresh_from_db()
        assert (found.closed_by, found.closed_why) == ("anna", "Refunded as a gift.")
        entries = LogEntry.objects.order_by("seq")
        assert [entry.what for entry in entries] == ["intended", "done"]
        for entry in entries:
            assert (entry.who, entry.via, entry.order_id) == ("anna", "admin", found.order_id)
            assert (entry.why, entry.run) == ("Refunded as a gift.", None)
            assert f"{found.reference}: amounts differ; here 12.50 EUR" in entry.about
            assert entry.address == "127.0.0.1"

    def test_the_log_and_the_page_of_the_order_show_who_closed_it(self, viewer):
        order = harness.order()
        close_discrepancy(discrepancy(order.id).id, by=member("anna", "approver"), reason="A gift.")
        for page in ("/admin/staff/logentry/", f"/admin/orders/order/{order.id}/change/"):
            text = viewer.get(page).content.decode()
            assert "anna" in text
            assert "Close a difference from the gateway" in text

    @pytest.mark.parametrize("group", ["viewer", "operator"])
    def test_other_groups_see_a_difference_and_cannot_close_it(self, client, group):
        found = discrepancy()
        client.force_login(member("vera", group))
        page = f"{DIFFERENCES}{found.id}/change/"
        assert client.get(page).status_code == 200
        assert client.post(page, {"closed_why": "I may not."}).status_code == 403
        assert Drift.objects.get().closed_at is None

    def test_two_approvers_at_once_close_it_once(self):
        found, anna = discrepancy(), member("anna", "approver")

        def close():
            with suppress(Rejected):
                close_discrepancy(found.id, by=anna, reason="A gift.")

        at_once([close] * 4)
        assert LogEntry.objects.filter(what="done").count() == 1
        losers = LogEntry.objects.filter(what="failed")
        assert {entry.outcome[:40] for entry in losers} == {
            f"Another person has closed {found.reference} before."[:40]
        }

    def test_nothing_is_closed_without_an_entry_in_the_log(self, renamed):
        found = discrepancy()
        renamed("default", "console_logentry")
        with pytest.raises(Exception, match="console_logentry"):
            close_discrepancy(found.id, by=member("anna", "approver"), reason="A gift.")
        assert Drift.objects.get().closed_at is None

    def test_the_outcome_is_logged_after_the_commit_and_a_rollback_is_logged_too(
        self, client, monkeypatch
    ):
        """Django's admin commits the form after the block of `staff_write` has ended."""
        found, client.raise_request_exception = discrepancy(), False
        client.force_login(member("anna", "approver"))

        def fail(*_args, **_kwargs):
            raise RuntimeError("No response.")

        monkeypatch.setattr("backoffice.admin.discrepancies.DriftAdmin.response_change", fail)
        page = f"{DIFFERENCES}{found.id}/change/"
        assert client.post(page, {"closed_why": "A gift."}).status_code == 500
        assert Drift.objects.get().closed_at is None
        entries = list(LogEntry.objects.order_by("seq").values_list("what", "outcome"))
        assert entries == [
            ("intended", ""),
            ("failed", "The transaction of this write was rolled back."),
        ]

    def test_a_refused_form_is_in_the_log(self, client):
        client.force_login(member("vera", "viewer"))
        page = f"{DIFFERENCES}{discrepancy().id}/change/"
        assert client.post(page, {"closed_why": "I may not."}).status_code == 403
        entry = LogEntry.objects.get()
        assert (entry.who, entry.what, entry.via) == ("vera", "refused", "admin")


def test_every_status_of_a_payment_has_a_captured_amount_in_words(viewer):
    expires = timezone.now() + timedelta(days=4)
    for status in Payment.Status.values:
        extra: dict[str, Any] = (
            {"authorization_expires_at": expires} if status == "authorized" else {}
        )
        order = harness.order()
        payment(order.id, status=status, **extra)
        assert facts(viewer, order)["Captured"]
