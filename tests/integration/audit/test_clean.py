"""Correct data give no violation, whichever way they arose; and the output of the command."""

import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from audit.databases import DatabaseUnavailable, fetch
from audit.load import saga_services
from audit.run import audit
from orders.models import Order
from tests.integration.audit import harness

pytestmark = pytest.mark.django_db(databases="__all__")


def found(**options):
    report = audit(**options)
    return [
        (verdict.invariant.id, *violation)
        for verdict in report.verdicts
        for violation in verdict.shown
    ]


def test_every_way_to_end_an_order_gives_no_violation(orders) -> None:
    assert found() == []
    ended = Order.objects.exclude(ended_at=None).values_list("id", flat=True)
    assert set(ended) == set(orders) - {orders.open}


def test_an_open_order_counts_only_where_all_are_expected_to_have_ended(orders) -> None:
    assert found() == []
    violations = found(expect_ended=True)
    assert [(invariant, subject) for invariant, subject, _ in violations] == [
        ("I1", str(orders.open)),
        ("I13", str(orders.open)),
    ]


def test_purged_messages_are_not_reported_as_missing(orders) -> None:
    for service in saga_services():
        with connections[service.alias].cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {service.watermark} (id, home, before, kept)"
                " VALUES (2, 'orders', now() + interval '1 h', '{}')"
            )
            cursor.execute(f"DELETE FROM {service.outbox}")
    report = audit()
    assert report.violations == 0
    assert report.orders["purged"] == len(orders)


def test_the_report_notes_that_payments_replace_a_ledger_that_was_not_asked(
    orders, settings
) -> None:
    settings.PAYMENT_GATEWAY = "stripe"
    report = audit(ask_gateway=False)
    assert report.violations == 0
    notes = {verdict.invariant.id: verdict.note for verdict in report.verdicts if verdict.note}
    assert set(notes) == {"I3", "I4", "I5"}


def test_the_command_prints_a_table_and_returns(orders) -> None:
    output = io.StringIO()
    call_command("audit", stdout=output)
    assert "Every invariant holds." in output.getvalue()
    assert "I15" in output.getvalue()


def test_the_command_exits_with_1_and_names_the_rows(orders) -> None:
    output = io.StringIO()
    with (
        pytest.raises(SystemExit) as exit_,
        harness.temporary_changes("inventory", "UPDATE inventory_stockitem SET on_hand = 7"),
    ):
        call_command("audit", stdout=output)
    assert exit_.value.code == 1
    assert "I6 MUG: on hand 7" in output.getvalue()


def test_more_rows_than_the_limit_are_counted_and_not_printed(orders) -> None:
    output = io.StringIO()
    with (
        pytest.raises(SystemExit),
        harness.temporary_changes("inventory", "UPDATE inventory_stockitem SET on_hand = 7"),
    ):
        call_command("audit", limit=1, stdout=output)
    assert "I6 PLATE" not in output.getvalue()
    assert "I6 … and 1 more" in output.getvalue()


def test_json_has_the_same_results_as_the_table(orders) -> None:
    output = io.StringIO()
    with (
        pytest.raises(SystemExit),
        harness.temporary_changes("inventory", "UPDATE inventory_stockitem SET on_hand = 7"),
    ):
        call_command("audit", json=True, stdout=output)
    report = json.loads(output.getvalue())
    (broken,) = [verdict for verdict in report["invariants"] if verdict["violations"]]
    assert not report["ok"]
    assert report["orders"] == {"ended": 11, "open": 1, "forgotten": 0}
    assert (broken["id"], broken["violations"]) == ("I6", 2)
    assert broken["shown"][0]["subject"] == "MUG"


def test_a_database_that_cannot_be_read_exits_with_2_and_is_named() -> None:
    with (
        harness.temporary_changes("inventory", "ALTER TABLE inventory_stockitem RENAME TO gone"),
        pytest.raises(CommandError, match="cannot read the database 'inventory'") as error,
    ):
        call_command("audit")
    assert error.value.returncode == 2


def test_the_audit_cannot_write() -> None:
    with pytest.raises(DatabaseUnavailable, match="read-only transaction"):
        fetch("default", "DELETE FROM orders_order RETURNING id")
