"""More is lost than one database: timeline entries, answers of the gateway, receipts of stock."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from msgspec import structs

from inventory.models import Hold as InventoryHold
from inventory.models import StockAdjustment, StockItem
from inventory.services import adjust_stock
from orders.models import Order, TimelineEvent
from orders.models import Outbox as OrdersOutbox
from payments.events import PaymentProcessed
from payments.gateways.base import Unanswered
from payments.gateways.simulated import SimulatedGateway
from payments.gateways.simulated.ledger import SimulatedRefund
from payments.gateways.simulated.outside_acts import ChargeToDispute, open_disputes
from payments.models import (
    Dispute,
    Hold,
    Inbox,
    Outbox,
    Payment,
    SimulatedCharge,
    Watermark,
)
from payments.paid_otherwise import ACTION, Record, record_paid_otherwise
from recovery.inventory import RESERVE
from sagas import sql
from sagas.currencies import with_currency
from sagas.definition import handlers
from sagas.definition.handlers import ManualConfirmation
from sagas.operations import holds, manual
from sagas.operations.manual import mark_done
from sagas.storage.registry import get_service
from staff import log
from staff.policy import Shell
from tests.integration.audit.harness import (
    cancel,
    deliver,
    open_shop,
    place,
    record_timeline,
    run_to_end,
)
from tests.integration.recovery.harness import (
    backed_up,
    lose,
    orders_of_every_kind,
    recover,
    restore,
)
from tests.processes import url

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True, databases="__all__")]


def charges():
    """Return the movements of the gateway's ledger, each with its number."""
    return sorted(SimulatedCharge.objects.values_list("order_id", "kind", "amount"))


@pytest.mark.parametrize("service", ["payments", "inventory"])
def test_later_messages_prove_the_events_that_the_timeline_lost_too(service):
    orders = orders_of_every_kind()
    money, stock = charges(), sorted(StockItem.objects.values_list("sku", "reserved", "shipped"))
    TimelineEvent.objects.filter(service=service).delete()
    lose(service)

    recover(service)

    adjust_stock(sku="MUG", quantity=100, reason="counted", by="staff")
    for name in ("inventory", "orders"):
        holds.release(get_service(name), step=RESERVE)
    assert charges() == money
    assert sorted(StockItem.objects.values_list("sku", "reserved", "shipped")) == stock
    run_to_end(orders.open)
    call_command("audit", "--expect-ended")


def test_a_whole_database_is_said_to_lack_nothing(capsys):
    orders_of_every_kind()
    call_command("recover", "payments", "--gateway", "simulated")
    output = capsys.readouterr().out
    assert "Nothing is missing in payments. Nothing was written." in output
    assert "Planned writes" not in output


def test_an_event_that_a_restored_service_wrote_again_replaces_the_lost_one():
    open_shop()
    order = place()
    deliver("payments.charge", order)
    record_timeline()
    lose("payments")
    deliver("payments.charge", order)  # the workers ran before the recovery
    record_timeline()
    assert TimelineEvent.objects.filter(saga=order, type="payment.processed").count() == 2

    recover("payments")

    assert TimelineEvent.objects.filter(saga=order, type="payment.processed").count() == 1
    run_to_end(order)
    call_command("audit", "--expect-ended")
    assert len(charges()) == 1


def test_a_rebuilt_message_has_the_result_that_a_later_step_reads(monkeypatch):
    known = handlers.definition("payments.charge")
    assert known is not None
    returning = structs.replace(known, returns=PaymentProcessed)
    monkeypatch.setitem(handlers._definitions, "payments.charge", returning)
    open_shop()
    order = place()
    deliver("payments.charge", order)
    record_timeline()
    written = Outbox.objects.get(saga=order).context
    assert written["results"]["payments.charge"]["amount"] == Order.objects.get(id=order).amount
    lose("payments")

    recover("payments")

    assert Outbox.objects.get(saga=order).context == written
    run_to_end(order)
    call_command("audit", "--expect-ended")


def test_a_rebuilt_first_message_of_an_order_has_no_results(monkeypatch):
    known = handlers.definition("payments.charge")
    assert known is not None
    returning = structs.replace(known, returns=PaymentProcessed)
    monkeypatch.setitem(handlers._definitions, "payments.charge", returning)
    open_shop()
    order = place()
    first = OrdersOutbox.objects.get(saga=order).context
    deliver("payments.charge", order)
    record_timeline()
    lose("orders")

    recover("orders")

    assert OrdersOutbox.objects.get(saga=order, seq=0).context == first


def test_a_step_that_ran_again_with_another_result_is_shown_to_a_person(capsys):
    open_shop()
    order = place()
    deliver("payments.charge", order)
    deliver("inventory.reserve", order)
    record_timeline()
    lose("inventory")
    deliver("inventory.reserve", order)  # the workers ran before the recovery, without any stock
    record_timeline()

    recover("inventory")

    shown = "inventory.reserve wrote stock.reserved, ran again and wrote stock.unavailable"
    assert f"For a person: step with two results {order}: {shown}" in capsys.readouterr().out
    run_to_end(order)
    call_command("audit", "--expect-ended")
    assert Order.objects.get(id=order).status == "cancelled"


def test_a_waiting_step_whose_event_is_known_is_closed():
    open_shop()
    order = place(method="pm_sim_timeout_lost")
    deliver("payments.charge", order)
    assert Inbox.objects.get(saga=order, step="payments.charge").state == "waiting"
    with backed_up("payments"):
        run_to_end(order)
        restore("payments")

    recover("payments")

    row = Inbox.objects.get(saga=order, step="payments.charge")
    assert (row.state, row.message, row.send_at) == ("done", None, None)
    assert Payment.objects.get(order_id=order).status == "captured"


def test_a_gateway_that_does_not_answer_leaves_the_payment_for_the_next_run(monkeypatch, capsys):
    open_shop()
    order = place()
    run_to_end(order)
    lose("payments")
    with monkeypatch.context() as patched:
        patched.setattr(
            SimulatedGateway,
            "balance",
            lambda self, requests: [Unanswered("It is down.")] * len(requests),
        )
        with pytest.raises(SystemExit):
            recover("payments")
    assert f"gateway did not answer {order}" in capsys.readouterr().out
    assert not Payment.objects.exists()

    recover("payments")

    assert Payment.objects.get().status == "captured"


def test_a_goodwill_refund_and_a_dispute_are_read_from_the_gateway():
    open_shop()
    refunded = place(method="pm_sim_partly_refunded")
    disputed = place(method="pm_sim_disputed_lost")
    run_to_end(refunded, disputed)
    lose("payments")

    recover("payments")

    payments = {each.order_id: each for each in Payment.objects.all()}
    back = payments[refunded]
    assert 0 < back.refunded_amount < back.captured
    assert payments[disputed].dispute_status in {"open", "lost"}
    assert payments[disputed].disputed_amount == payments[disputed].captured
    assert Dispute.objects.get().order_id == disputed


def test_an_open_dispute_is_followed_up_after_a_recovery():
    open_shop()
    order = place()
    run_to_end(order)
    charge = SimulatedCharge.objects.get(order_id=order, kind="capture")
    known: dict[str, Any] = {
        "charge_id": charge.charge_id,
        "order_id": order,
        "currency": "eur",
    }
    (dispute,) = open_disputes([ChargeToDispute(amount=100, **known)])
    # The backup has an older state of the dispute.
    Dispute.objects.create(
        id=dispute, status="won", amount=90, reason="other", opened_at=datetime.now(UTC), **known
    )
    lose("payments")

    recover("payments")

    payment = Payment.objects.get()
    assert (payment.status, payment.dispute_status) == ("captured", "open")
    assert payment.balance_due_at is not None
    row = Dispute.objects.get()
    assert (row.status, row.amount, row.reason) == ("open", 100, "fraudulent")


def test_a_refund_on_its_way_is_owed_until_it_is_through():
    open_shop()
    order = place()
    deliver("payments.charge", order)
    cancel(order)
    run_to_end(order)
    # The first refund failed after the order's end, and the second one is under way.
    made = SimulatedCharge.objects.get(order_id=order, kind="refund")
    known: dict[str, Any] = {
        "charge_id": made.charge_id,
        "order_id": order,
        "currency": made.currency,
    }
    SimulatedRefund.objects.create(key=made.key, state="failed", amount=made.amount, **known)
    SimulatedRefund.objects.create(
        key=f"{made.key}-2", state="pending", amount=made.amount, **known
    )
    made.delete()
    lose("payments")

    with pytest.raises(SystemExit):  # the audit tells that the money is not back yet
        recover("payments")

    payment = Payment.objects.get()
    assert (payment.status, payment.refunded_amount) == ("captured", 0)
    assert payment.owed_amount == made.amount
    assert payment.follow_at is not None


def test_a_refund_marked_as_done_is_not_repeated_after_a_recovery(capsys, monkeypatch):
    """The customer got the money in another way, so the gateway still has it."""
    monkeypatch.setattr(manual, "request_flush", lambda service: None)
    open_shop()
    order = place()
    deliver("payments.charge", order)
    holds.hold(get_service("payments"), step="payments.refund", by="olga", why="Closed account.")
    cancel(order)
    deliver("inventory.release", order)
    deliver("payments.refund", order)
    confirmation = ManualConfirmation(by="olga", evidence="A transfer.", reference="transfer 7")
    mark_done("payments.refund", order, confirmation)
    run_to_end(order)
    lose("payments")

    with pytest.raises(SystemExit):  # the audit tells that the gateway still has the money
        recover("payments")

    payment = Payment.objects.get()
    assert (payment.status, payment.refunded_amount, payment.owed_amount) == ("refunded", 0, 0)
    assert (payment.refund_reference != "", payment.follow_at) == (True, None)
    assert "a person marked the refund as done" in capsys.readouterr().out


def owed_to_the_customer():
    """Return an order that was cancelled, whose refund has failed after its end."""
    open_shop()
    order = place()
    deliver("payments.charge", order)
    cancel(order)
    run_to_end(order)
    refund = SimulatedCharge.objects.get(order_id=order, kind="refund")
    SimulatedRefund.objects.create(
        key=refund.key,
        state="failed",
        amount=refund.amount,
        charge_id=refund.charge_id,
        order_id=order,
        currency=refund.currency,
    )
    refund.delete()
    Payment.objects.update(
        status="captured",
        refunded_amount=0,
        owed_amount=refund.amount,
        follow_at="2099-01-01T00:00Z",
        follow_error="The account is closed.",
    )
    return order, refund.amount


def pay_otherwise(order, amount, reference="transfer 17"):
    """Record the owed money as paid, with the entry that the console writes."""
    assert record_paid_otherwise(order, amount=amount, reference=reference)
    outcome = str(Record(amount, "eur", reference))
    log.record(
        Shell("olga"), "acted", ACTION, {"order_id": order, "outcome": outcome}, via="console"
    )


def check_that_it_is_paid(amount):
    payment = Payment.objects.get()
    assert (payment.status, payment.owed_amount, payment.follow_at) == ("refunded", 0, None)
    assert (payment.paid_otherwise_amount, payment.refund_reference) == (amount, "transfer 17")


def test_money_that_was_paid_in_another_way_is_found_in_the_log_after_a_loss(capsys):
    order, amount = owed_to_the_customer()
    pay_otherwise(order, amount)
    lose("payments")

    recover("payments")

    check_that_it_is_paid(amount)
    paid = f"{with_currency(amount, 'eur')} paid in another way: transfer 17"
    assert paid in capsys.readouterr().out


def test_money_that_was_paid_in_another_way_since_the_backup_is_not_given_back_again():
    """No event tells of it, so no message of the order is missing."""
    order, amount = owed_to_the_customer()
    with backed_up("payments"):
        pay_otherwise(order, amount)
        restore("payments")
    assert Payment.objects.get().owed_amount == amount

    recover("payments")

    check_that_it_is_paid(amount)
    recover("payments")
    check_that_it_is_paid(amount)


def test_pieces_that_orders_have_are_received_and_the_rest_must_be_counted(capsys):
    open_shop()
    with backed_up("inventory"):
        adjust_stock(sku="VASE", quantity=5, reason="received", by="staff")
        order, waiting = place("VASE"), place("VASE")
        run_to_end(order)
        deliver("payments.charge", waiting)
        record_timeline()
        restore("inventory")

    recover("inventory")

    assert "stock to count by hand VASE" in capsys.readouterr().out
    vase = StockItem.objects.get(sku="VASE")
    assert (vase.on_hand, vase.reserved, vase.shipped) == (0, 0, 2)
    added = StockAdjustment.objects.get(item__sku="VASE")
    assert (added.quantity, added.by) == (2, "manage.py recover")

    run_to_end(waiting)
    assert Order.objects.get(id=waiting).ended_at is None, "it waits until the stock is counted"
    assert InventoryHold.objects.get().step == RESERVE

    adjust_stock(sku="VASE", quantity=3, reason="counted", by="staff")
    for name in ("inventory", "orders"):
        holds.release(get_service(name), step=RESERVE)
    run_to_end(waiting)
    call_command("audit", "--expect-ended")
    assert Order.objects.get(id=waiting).status == "fulfilled"


def test_purged_orders_get_their_payment_but_no_messages():
    open_shop()
    order = place()
    run_to_end(order)
    later = datetime.now(UTC) + timedelta(days=1)
    for name in ("orders", "payments", "inventory"):
        forget_messages(get_service(name), before=later)
    lose("payments")

    recover("payments")

    assert Payment.objects.get().status == "captured"
    assert not Inbox.objects.exists()
    assert Watermark.objects.get().before == later


def forget_messages(service, *, before):
    """Delete the messages of a service and set its watermark, as after the retention time."""
    sql.run(service.alias, f"DELETE FROM {service.inbox}", {})
    sql.run(service.alias, f"DELETE FROM {service.outbox}", {})
    statement = (
        f"INSERT INTO {service.watermark} (id, home, before, kept)"
        " VALUES (2, 'orders', %(before)s, '{}')"
    )
    sql.run(service.alias, statement, {"before": before})


def test_holds_are_copied_from_the_other_services():
    open_shop()
    order = place()
    for name in ("orders", "payments", "inventory"):
        holds.hold(get_service(name), saga=order, by="eve", why="fraud")
    holds.hold(get_service("payments"), step="payments.charge", by="eve", why="fraud")
    holds.hold(get_service("orders"), step="payments.charge", by="eve", why="fraud")
    holds.hold(get_service("orders"), step=RESERVE, by="eve", why="inventory")
    for name in ("payments", "orders"):
        holds.hold(
            get_service(name), step="payments.refund", destination="stripe", by="eve", why="fraud"
        )
    lose("payments")

    recover("payments")

    found = set(Hold.objects.values_list("saga", "step", "calling_step", "destination", "by"))
    assert found == {
        (order, None, None, "", "eve"),
        (None, "payments.charge", None, "", "eve"),
        (None, None, "payments.refund", "stripe", "eve"),
    }


def test_a_sequence_behind_its_table_is_moved():
    open_shop()
    order = place()
    run_to_end(order)
    with connections["payments"].cursor() as cursor:
        cursor.execute("SELECT setval(pg_get_serial_sequence('payments_inbox', 'id'), 1)")

    recover("payments")

    other = place()
    deliver("payments.charge", other)
    assert Inbox.objects.filter(saga=other).exists()


def test_a_cancel_under_way_is_not_overtaken_by_the_fulfilment():
    open_shop()
    order = place()
    deliver("payments.charge", order)
    deliver("inventory.reserve", order)
    cancel(order)
    deliver("inventory.release", order)
    record_timeline()
    lose("orders")

    recover("orders")

    assert Order.objects.get(id=order).status == "cancelling"
    run_to_end(order)
    call_command("audit", "--expect-ended")
    row = Order.objects.get(id=order)
    assert (row.status, row.failure_code) == ("cancelled", "cancelled_by_customer")


def test_an_order_that_may_still_be_cancelled_is_left_to_the_workers():
    open_shop()
    order = place()
    deliver("payments.charge", order)
    deliver("inventory.reserve", order)
    lose("orders")

    recover("orders")

    assert Order.objects.get(id=order).status == "reserved"
    cancel(order)
    run_to_end(order)
    assert Order.objects.get(id=order).status == "cancelled"


def test_it_refuses_to_write_while_another_session_is_connected(tmp_path):
    with (
        psycopg.connect(url("inventory")),
        pytest.raises(CommandError, match=r"other sessions are connected to .*'inventory'") as info,
    ):
        call_command("recover", "payments", apply=True, log=tmp_path / "log")
    assert info.value.returncode == 2


def test_it_refuses_to_run_without_a_migration():
    with connections["payments"].cursor() as cursor:
        cursor.execute("ALTER TABLE django_migrations RENAME TO migrations_of_the_tests")
    try:
        with pytest.raises(CommandError, match=r"'payments' lacks \d+ migrations"):
            call_command("recover", "payments")
    finally:
        with connections["payments"].cursor() as cursor:
            cursor.execute("ALTER TABLE migrations_of_the_tests RENAME TO django_migrations")


def test_every_applied_write_is_in_the_log(tmp_path, capsys):
    open_shop()
    order = place()
    run_to_end(order)
    lose("payments")
    log = tmp_path / "log"

    call_command("recover", "payments", apply=True, ignore_sessions=True, json=True, log=log)

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    report = json.loads(capsys.readouterr().out)
    assert report["audit"]["ok"]
    assert [(line["kind"], line["subject"]) for line in lines] == [
        (write["kind"], write["subject"]) for write in report["writes"]
    ]
    assert {str(order)} == {line["subject"] for line in lines}
    assert "payments.charge" in {line["detail"].split()[0] for line in lines}
