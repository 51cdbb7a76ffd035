"""Each violation is found, under its invariant. Each test changes correct data and rolls back."""

import pytest
from django.db import connections

from audit.run import audit
from tests.integration.audit.harness import PLAN, temporary_changes
from tests.shop import position

pytestmark = pytest.mark.django_db(databases="__all__")

ANY_STATUS = "ALTER TABLE orders_order DISABLE TRIGGER orders_legal_transition"
NO_REASON = "ALTER TABLE orders_order DROP CONSTRAINT orders_cancelled_for_a_reason"
STRANGER = "01890000-0000-7000-8000-000000000000"


def expect(invariant: str, text: str, subject: object = None) -> None:
    """Expect a violation of an invariant with this text in its detail, and this subject."""
    (verdict,) = [
        verdict for verdict in audit(limit=100).verdicts if verdict.invariant.id == invariant
    ]
    assert [f for f in verdict.shown if text in f.detail and subject in (None, f.subject)], (
        verdict.shown
    )


def drop(table: str, kind: str) -> str:
    """Return a statement that drops constraints of a table.

    `kind`: 'u' for unique, 'c' for check, 'f' for foreign key.
    """
    return f"""DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = '{table}'::regclass
               AND contype = '{kind}' LOOP
            EXECUTE format('ALTER TABLE {table} DROP CONSTRAINT %I', name);
        END LOOP; END $$"""


def twice(table: str, where: str, **changed: str) -> str:
    """Return a statement that inserts rows of a table again, with some columns changed."""
    with connections[
        "default" if table.startswith("orders") else table.partition("_")[0]
    ].cursor() as cursor:
        columns = [
            column.name
            for column in connections["default"].introspection.get_table_description(cursor, table)
        ]
    kept = [column for column in columns if column != "id" or "id" in changed]
    values = [changed.get(column, column) for column in kept]
    return (
        f"INSERT INTO {table} ({', '.join(kept)}) SELECT {', '.join(values)} FROM {table}"
        f" WHERE {where}"
    )


def moved(order: object, kind: str, amount: int) -> tuple[str, str, str]:
    """Return statements that move more money of an order in the gateway's ledger."""
    return (
        drop("payments_simulatedcharge", "c"),
        "ALTER TABLE payments_simulatedcharge ALTER kind TYPE varchar(14)",
        twice(
            "payments_simulatedcharge",
            f"kind = 'capture' AND order_id = '{order}'",
            kind=f"'{kind}'",
            key=f"'{kind} by hand'",
            amount=str(amount),
        ),
    )


class TestI1:
    def test_an_order_that_ended_in_a_status_that_is_not_terminal(self, orders) -> None:
        undone = "UPDATE orders_order SET status = 'paid' WHERE id = %(order)s"
        with temporary_changes("default", ANY_STATUS, undone, order=orders.fulfilled):
            expect("I1", "has ended, but its status is paid", str(orders.fulfilled))

    def test_a_cancelled_order_that_has_not_ended(self, orders) -> None:
        revived = "UPDATE orders_order SET ended_at = NULL WHERE id = %(order)s"
        with temporary_changes("default", NO_REASON, revived, order=orders.declined):
            expect("I1", "has not ended", str(orders.declined))


class TestI2:
    def test_a_key_that_was_used_for_two_orders(self, orders) -> None:
        used = (
            f"UPDATE orders_idempotencykey SET key = 'same'"
            f" WHERE order_id IN ('{orders.open}', '{orders.declined}')"
        )
        with temporary_changes("default", drop("orders_idempotencykey", "u"), used):
            expect("I2", "used 2 times, for 2 orders")

    def test_a_key_that_names_no_order(self, orders) -> None:
        astray = (
            f"UPDATE orders_idempotencykey SET order_id = '{STRANGER}' WHERE order_id = %(order)s"
        )
        with temporary_changes(
            "default", drop("orders_idempotencykey", "f"), astray, order=orders.open
        ):
            expect("I2", "names an order that does not exist")


class TestI3:
    def test_money_kept_of_a_cancelled_order(self, orders) -> None:
        lost = "DELETE FROM payments_simulatedcharge WHERE kind = 'refund' AND order_id = %(order)s"
        with temporary_changes("payments", lost, order=orders.out_of_stock):
            expect("I3", "18500 kept, expected 0", str(orders.out_of_stock))

    def test_a_fulfilled_order_that_was_charged_too_little(self, orders) -> None:
        less = "UPDATE payments_simulatedcharge SET amount = 1 WHERE order_id = %(order)s"
        with temporary_changes("payments", less, order=orders.fulfilled):
            expect("I3", "1 kept, expected 4300", str(orders.fulfilled))

    def test_a_charge_that_was_captured_twice_even_while_the_order_is_open(self, orders) -> None:
        again = twice("payments_simulatedcharge", f"order_id = '{orders.open}'", key="'another'")
        with temporary_changes("payments", again):
            expect("I3", "captured 2 times", str(orders.open))

    def test_more_refunded_than_captured(self, orders) -> None:
        more = (
            "UPDATE payments_simulatedcharge SET amount = 99999"
            " WHERE kind = 'refund' AND order_id = %(order)s"
        )
        with temporary_changes("payments", more, order=orders.cancelled_late):
            expect("I3", "99999 refunded, but only 2500 captured", str(orders.cancelled_late))

    def test_money_of_another_currency(self, orders) -> None:
        moved = "UPDATE payments_simulatedcharge SET currency = 'usd' WHERE order_id = %(order)s"
        with temporary_changes("payments", moved, order=orders.fulfilled):
            expect("I3", "the gateway moved usd", str(orders.fulfilled))

    def test_money_taken_for_stock_that_was_never_held(self, orders) -> None:
        """Only under the plan that captures after it reserves, even if the money was refunded."""
        gone = "DELETE FROM inventory_reservation WHERE order_id = %(order)s"
        with temporary_changes("inventory", gone, order=orders.authorized):
            expect(
                "I3",
                "captured 2500 eur, but no stock was ever held for the order",
                str(orders.authorized),
            )
        with temporary_changes("inventory", gone, order=orders.cancelled_late):
            (verdict,) = [
                verdict for verdict in audit(limit=100).verdicts if verdict.invariant.id == "I3"
            ]
            assert verdict.shown == []

    def test_a_part_that_a_person_captured_before_stock_was_held_is_no_violation(
        self, orders
    ) -> None:
        """The order's own step did not capture it, and it was given back."""
        order = orders.authorized_in_vain
        rows = [
            twice(
                "payments_simulatedcharge",
                f"order_id = '{orders.cancelled_late}' AND kind = '{kind}'",
                key=f"'{kind}-by-hand'",
                order_id=f"'{order}'",
                amount="400",
            )
            for kind in ("capture", "refund")
        ]
        with temporary_changes("payments", *rows):
            (verdict,) = [each for each in audit(limit=100).verdicts if each.invariant.id == "I3"]
            assert [shown for shown in verdict.shown if shown.subject == str(order)] == []

    def test_money_captured_for_a_cancelled_order(self, orders) -> None:
        taken = twice(
            "payments_simulatedcharge",
            f"order_id = '{orders.authorized}'",
            key="'another'",
            order_id=f"'{orders.authorized_in_vain}'",
        )
        with temporary_changes("payments", taken):
            expect("I3", "2500 kept, expected 0", str(orders.authorized_in_vain))

    def test_a_refund_that_was_paid_twice(self, orders) -> None:
        with temporary_changes("payments", *moved(orders.cancelled_late, "refund", 2500)):
            expect("I3", "5000 refunded, but only 2500 captured", str(orders.cancelled_late))

    def test_a_refund_in_parts_is_no_violation(self, orders) -> None:
        less = (
            "UPDATE payments_simulatedcharge SET amount = 2000"
            " WHERE kind = 'refund' AND order_id = %(order)s"
        )
        with temporary_changes(
            "payments",
            less,
            *moved(orders.cancelled_late, "refund", 500),
            order=orders.cancelled_late,
        ):
            assert audit().violations == 0

    def test_a_goodwill_refund_until_payments_has_recorded_it(self, orders) -> None:
        recorded = "UPDATE payments_payment SET refunded_amount = 300 WHERE order_id = %(order)s"
        refund = moved(orders.fulfilled, "refund", 300)
        with temporary_changes("payments", *refund):
            expect(
                "I3",
                "4000 kept, expected 4300; "
                "300 refunded at the gateway, which payments has not recorded",
                str(orders.fulfilled),
            )
        with temporary_changes("payments", *refund, recorded, order=orders.fulfilled):
            assert audit().violations == 0

    def test_a_recorded_refund_that_the_gateway_did_not_make(self, orders) -> None:
        recorded = "UPDATE payments_payment SET refunded_amount = 300 WHERE order_id = %(order)s"
        with temporary_changes("payments", recorded, order=orders.fulfilled):
            expect("I3", "4300 kept, expected 4000", str(orders.fulfilled))

    def test_a_goodwill_refund_of_the_whole_amount_is_no_violation(self, orders) -> None:
        recorded = (
            "UPDATE payments_payment SET refunded_amount = 4300, status = 'refunded'"
            " WHERE order_id = %(order)s"
        )
        refund = moved(orders.fulfilled, "refund", 4300)
        with temporary_changes("payments", *refund, recorded, order=orders.fulfilled):
            assert audit().violations == 0

    def test_a_lost_dispute_until_payments_has_recorded_it(self, orders) -> None:
        recorded = (
            "UPDATE payments_payment SET disputed_amount = 4300, dispute_status = 'lost'"
            " WHERE order_id = %(order)s"
        )
        dispute = moved(orders.fulfilled, "dispute", 4300)
        with temporary_changes("payments", *dispute):
            expect(
                "I3",
                "0 kept, expected 4300; "
                "4300 withdrawn by disputes, which payments has not recorded",
                str(orders.fulfilled),
            )
        with temporary_changes("payments", *dispute, recorded, order=orders.fulfilled):
            assert audit().violations == 0

    def test_a_won_dispute_is_no_violation(self, orders) -> None:
        won = "UPDATE payments_payment SET dispute_status = 'won' WHERE order_id = %(order)s"
        with temporary_changes(
            "payments",
            *moved(orders.fulfilled, "dispute", 4300),
            *moved(orders.fulfilled, "dispute_return", 4300),
            won,
            order=orders.fulfilled,
        ):
            assert audit().violations == 0

    @pytest.mark.parametrize(("status", "found"), [("open", False), ("lost", True)])
    def test_a_dispute_of_a_refunded_charge_is_a_violation_once_it_is_lost(
        self, orders, status, found
    ) -> None:
        disputed = (
            f"UPDATE payments_payment SET disputed_amount = 2500, dispute_status = '{status}'"
            " WHERE order_id = %(order)s"
        )
        with temporary_changes(
            "payments",
            *moved(orders.cancelled_late, "dispute", 2500),
            disputed,
            order=orders.cancelled_late,
        ):
            if found:
                expect("I3", "-2500 kept, expected 0", str(orders.cancelled_late))
            else:
                assert audit().violations == 0

    def test_a_lost_dispute_of_a_cancelled_order_counts_as_its_refund(self, orders) -> None:
        lost = (
            "UPDATE payments_payment SET refunded_amount = 0, disputed_amount = 2500,"
            " dispute_status = 'lost' WHERE order_id = %(order)s"
        )
        no_refund = (
            "DELETE FROM payments_simulatedcharge WHERE kind = 'refund' AND order_id = %(order)s"
        )
        with temporary_changes(
            "payments",
            no_refund,
            *moved(orders.cancelled_late, "dispute", 2500),
            lost,
            order=orders.cancelled_late,
        ):
            assert audit().violations == 0

    def test_a_refund_that_failed_later_and_is_owed(self, orders) -> None:
        owed = (
            "UPDATE payments_payment SET status = 'captured', refunded_amount = 0,"
            " owed_amount = 2500 WHERE order_id = %(order)s"
        )
        failed = (
            "DELETE FROM payments_simulatedcharge WHERE kind = 'refund' AND order_id = %(order)s"
        )
        with temporary_changes("payments", owed, failed, order=orders.cancelled_late):
            for invariant in ("I3", "I14"):
                expect(
                    invariant,
                    "2500 eur are owed to the customer, and not paid yet",
                    str(orders.cancelled_late),
                )
            (verdict,) = [each for each in audit().verdicts if each.invariant.id == "I9"]
            assert verdict.shown == []

    def test_a_fulfilled_order_that_was_captured_in_part(self, orders) -> None:
        """Also if a refund is recorded for the rest: an order is not fulfilled as paid in part."""
        captured = (
            "UPDATE payments_payment SET captured_amount = 4000, refunded_amount = 300"
            " WHERE order_id = %(order)s"
        )
        in_ledger = "UPDATE payments_simulatedcharge SET amount = 4000 WHERE order_id = %(order)s"
        with temporary_changes("payments", captured, in_ledger, order=orders.fulfilled):
            expect("I3", "amount 4300 eur, but only 4000 eur were captured", str(orders.fulfilled))


class TestI4:
    def test_a_sum_that_is_too_high(self, orders) -> None:
        more = "UPDATE payments_simulatedcharge SET amount = amount + 7 WHERE order_id = %(order)s"
        with temporary_changes("payments", more, order=orders.fulfilled):
            expect("I4", "7 too much kept", "eur")

    def test_money_that_belongs_to_no_order(self, orders) -> None:
        orphan = twice(
            "payments_simulatedcharge",
            f"order_id = '{orders.open}'",
            key="'b'",
            order_id=f"'{STRANGER}'",
        )
        with temporary_changes("payments", orphan):
            expect("I4", "2500 too much kept", "eur")


class TestI5:
    def test_a_payment_that_the_ledger_does_not_know(self, orders) -> None:
        lost = "DELETE FROM payments_simulatedcharge WHERE order_id = %(order)s"
        with temporary_changes("payments", lost, order=orders.fulfilled):
            expect("I5", "payments has 4300 eur captured of ch_", str(orders.fulfilled))

    def test_a_capture_that_payments_do_not_know(self, orders) -> None:
        unknown = (
            "UPDATE payments_payment SET status = 'void', charge_id = NULL"
            " WHERE order_id = %(order)s"
        )
        with temporary_changes("payments", unknown, order=orders.charged_after_timeout):
            expect(
                "I5",
                "but the gateway's ledger has 2500",
                str(orders.charged_after_timeout),
            )

    def test_a_movement_of_no_order(self, orders) -> None:
        orphan = twice(
            "payments_simulatedcharge",
            f"order_id = '{orders.open}'",
            key="'b'",
            order_id=f"'{STRANGER}'",
        )
        with temporary_changes("payments", orphan):
            expect("I5", "the gateway's ledger has money of it", STRANGER)

    def test_a_payment_of_no_order(self, orders) -> None:
        with temporary_changes(
            "payments",
            f"UPDATE payments_payment SET order_id = '{STRANGER}' WHERE status = 'declined'"
            f" AND order_id = '{orders.declined}'",
        ):
            expect("I5", "payments_payment has a row of it", STRANGER)


class TestI6:
    def test_pieces_that_were_never_received(self, orders) -> None:
        with temporary_changes(
            "inventory", "UPDATE inventory_stockitem SET on_hand = on_hand + 1 WHERE sku = 'MUG'"
        ):
            expect("I6", "received 97", "MUG")

    def test_a_negative_counter(self, orders) -> None:
        less = (
            "UPDATE inventory_stockitem SET on_hand = -1, shipped = shipped + on_hand + 1"
            " WHERE sku = 'PLATE'"
        )
        with temporary_changes("inventory", drop("inventory_stockitem", "c"), less):
            expect("I6", "on hand -1", "PLATE")


class TestI7:
    def test_reservations_that_do_not_add_up(self, orders) -> None:
        more = (
            "UPDATE inventory_stockitem SET reserved = reserved + 5, on_hand = on_hand - 5"
            " WHERE sku = 'MUG'"
        )
        with temporary_changes("inventory", more):
            expect("I7", "counted as reserved 5, held by orders 0", "MUG")

    def test_a_fulfilled_order_that_was_shipped_less_than_it_ordered(self, orders) -> None:
        less = "DELETE FROM inventory_reservation WHERE sku = 'PLATE' AND order_id = %(order)s"
        with temporary_changes("inventory", less, order=orders.fulfilled):
            expect("I7", "is fulfilled: shipped {'MUG': 2}", str(orders.fulfilled))

    def test_a_cancelled_order_that_was_shipped(self, orders) -> None:
        shipped = "UPDATE inventory_reservation SET state = 'shipped' WHERE order_id = %(order)s"
        with temporary_changes("inventory", shipped, order=orders.cancelled_late):
            expect("I7", "is cancelled: shipped {'MUG': 2}", str(orders.cancelled_late))

    def test_a_reservation_of_no_order(self, orders) -> None:
        orphan = (
            f"UPDATE inventory_reservation SET order_id = '{STRANGER}' "
            f"WHERE order_id = '{orders.cancelled_late}'"
        )
        with temporary_changes("inventory", orphan):
            expect("I7", "inventory_reservation has rows of it", STRANGER)


class TestI8:
    @pytest.mark.parametrize(
        ("kind", "service"),
        [
            ("fulfilled", "payments"),
            ("fulfilled", "inventory"),
            ("out_of_stock", "payments"),
            ("cancelled", "inventory"),
        ],
    )
    def test_a_message_that_never_arrived(self, orders, kind, service) -> None:
        lost = f"DELETE FROM {service}_inbox WHERE state = 'done' AND saga = %(order)s"
        with temporary_changes(service, lost, order=getattr(orders, kind)):
            expect("I8", "did not reach", str(getattr(orders, kind)))

    def test_a_message_that_was_not_sent(self, orders) -> None:
        stuck = (
            "UPDATE payments_outbox SET published_at = NULL, due_at = now() - interval '1 h'"
            " WHERE saga = %(order)s"
        )
        with temporary_changes("payments", stuck, order=orders.declined):
            expect(
                "I8", "payment.failed of payments.charge is due, but not sent", str(orders.declined)
            )

    def test_a_step_that_no_event_requested(self, orders) -> None:
        gone = "DELETE FROM inventory_outbox WHERE saga = %(order)s"
        with temporary_changes("inventory", gone, order=orders.fulfilled):
            expect("I8", "no event", str(orders.fulfilled))

    def test_a_path_whose_start_event_is_missing(self, orders) -> None:
        gone = "DELETE FROM orders_outbox WHERE type = 'order.created' AND saga = %(order)s"
        with temporary_changes("default", gone, order=orders.declined):
            expect("I8", "no event was sent to that step", str(orders.declined))

    def test_an_event_without_its_change_even_while_the_order_is_open(self, orders) -> None:
        gone = "DELETE FROM payments_inbox WHERE saga = %(order)s"
        with temporary_changes("payments", gone, order=orders.open):
            expect(
                "I8",
                "payment.processed reports that payments.charge is done, but it is missing",
                str(orders.open),
            )

    def test_an_event_of_success_from_a_step_that_refused(self, orders) -> None:
        said = "UPDATE payments_outbox SET type = 'payment.processed' WHERE saga = %(order)s"
        with temporary_changes("payments", said, order=orders.declined):
            expect(
                "I8",
                "reports that payments.charge is done, but it is refused",
                str(orders.declined),
            )

    @pytest.mark.parametrize(
        "table", ["payments_inbox", "payments_outbox", "inventory_inbox", "inventory_outbox"]
    )
    def test_a_message_of_no_order(self, orders, table) -> None:
        orphan = f"UPDATE {table} SET saga = '{STRANGER}' WHERE saga = %(order)s"
        with temporary_changes(table.partition("_")[0], orphan, order=orders.fulfilled):
            expect("I8", f"{table} has rows of it", STRANGER)


class TestI9:
    @pytest.mark.parametrize("service", ["payments", "inventory"])
    def test_a_step_without_its_event(self, orders, service) -> None:
        with temporary_changes(
            service, f"DELETE FROM {service}_outbox WHERE saga = %(order)s", order=orders.fulfilled
        ):
            expect("I9", "is done, but it wrote no event", str(orders.fulfilled))

    def test_a_refusal_without_its_event(self, orders) -> None:
        with temporary_changes(
            "payments", "DELETE FROM payments_outbox WHERE saga = %(order)s", order=orders.declined
        ):
            expect("I9", "payments.charge is refused, but it wrote no event", str(orders.declined))

    @pytest.mark.parametrize(
        ("kind", "type_"), [("fulfilled", "order.fulfilled"), ("declined", "order.cancelled")]
    )
    def test_an_end_without_its_event(self, orders, kind, type_) -> None:
        gone = f"DELETE FROM orders_outbox WHERE type = '{type_}' AND saga = %(order)s"
        with temporary_changes("default", gone, order=getattr(orders, kind)):
            expect("I9", f"has no event {type_}", str(getattr(orders, kind)))

    def test_a_refund_that_no_event_reports(self, orders) -> None:
        gone = "DELETE FROM payments_outbox WHERE type = 'payment.refunded' AND saga = %(order)s"
        with temporary_changes("payments", gone, order=orders.given_up):
            expect("I9", "its payment is refunded, but no event reports it", str(orders.given_up))

    def test_released_stock_that_was_reported_as_never_reserved(self, orders) -> None:
        barred = "UPDATE inventory_outbox SET type = 'stock.barred' WHERE type = 'stock.released'"
        with temporary_changes("inventory", barred):
            expect("I9", "its stock is released, but no event", str(orders.cancelled_late))

    def test_captured_money_that_was_reported_as_never_captured(self, orders) -> None:
        barred = (
            "UPDATE payments_outbox SET type = 'payment.barred' WHERE type = 'payment.processed'"
        )
        with temporary_changes("payments", barred):
            expect("I9", "its payment is captured, but no event", str(orders.fulfilled))

    def test_an_undo_that_had_nothing_to_undo_is_no_violation(self, orders) -> None:
        barred = (
            "UPDATE payments_outbox SET type = 'payment.barred'"
            " WHERE type = 'payment.refunded' AND saga = %(order)s"
        )
        in_timeline = (
            "UPDATE orders_timelineevent SET type = 'payment.barred'"
            " WHERE type = 'payment.refunded' AND saga = %(order)s"
        )
        order = orders.cancelled
        with (
            temporary_changes("payments", barred, order=order),
            temporary_changes("default", in_timeline, order=order),
        ):
            assert audit().violations == 0


class TestI10:
    def test_a_step_that_was_done_twice(self, orders) -> None:
        again = twice("payments_inbox", f"saga = '{orders.open}'")
        with temporary_changes("payments", drop("payments_inbox", "u"), again):
            expect("I10", "payments.charge has 2 inbox rows", str(orders.open))

    def test_an_event_that_was_written_twice(self, orders) -> None:
        again = twice(
            "orders_outbox", f"saga = '{orders.fulfilled}' AND seq = 0", id="gen_random_uuid()"
        )
        with temporary_changes("default", again):
            expect("I10", "order.created has 2 events", str(orders.fulfilled))

    def test_a_reservation_that_was_made_twice(self, orders) -> None:
        again = twice("inventory_reservation", f"order_id = '{orders.fulfilled}' AND sku = 'MUG'")
        with temporary_changes("inventory", drop("inventory_reservation", "u"), again):
            expect("I10", "has 2 reservations of MUG", str(orders.fulfilled))

    def test_a_payment_that_was_made_twice(self, orders) -> None:
        again = twice(
            "payments_payment",
            f"order_id = '{orders.declined}'",
            id="gen_random_uuid()",
            charge_key="'another'",
            refund_key="'another'",
        )
        with temporary_changes("payments", drop("payments_payment", "u"), again):
            expect("I10", "has 2 payments", str(orders.declined))


class TestI11:
    def test_an_action_that_can_still_run_after_its_undo(self, orders) -> None:
        open_again = (
            "DELETE FROM payments_inbox WHERE step = 'payments.charge' AND saga = %(order)s"
        )
        with temporary_changes("payments", open_again, order=orders.cancelled):
            expect("I11", "payments.charge can still run (not barred)", str(orders.cancelled))

    def test_a_pivot_that_can_still_run_after_the_end(self, orders) -> None:
        open_again = "DELETE FROM orders_inbox WHERE step = 'orders.fulfil' AND saga = %(order)s"
        with temporary_changes("default", open_again, order=orders.declined):
            expect("I11", "orders.fulfil is not barred", str(orders.declined))

    def test_stock_that_was_moved_though_it_was_never_reserved(self, orders) -> None:
        refused = (
            "UPDATE inventory_inbox SET state = 'refused'"
            " WHERE step = 'inventory.reserve' AND saga = %(order)s"
        )
        with temporary_changes("inventory", refused, order=orders.cancelled_late):
            expect("I11", "inventory.reserve is refused", str(orders.cancelled_late))

    def test_undos_in_the_wrong_order(self, orders) -> None:
        """The refund comes before the release: order.cancelling → refund → release → the rest."""
        order = orders.cancelled_late
        rest = PLAN.after("payments.refund")
        start = (
            "UPDATE orders_outbox SET target = 'payments.refund' "
            "WHERE type = 'order.cancelling' AND saga = %(order)s"
        )
        refund = (
            "UPDATE payments_outbox SET target = 'inventory.release', seq = 2"
            " WHERE type = 'payment.refunded' AND saga = %(order)s"
        )
        release = (
            "UPDATE inventory_outbox SET target = %(rest)s, seq = 3"
            " WHERE type = 'stock.released' AND saga = %(order)s"
        )
        with (
            temporary_changes("default", start, order=order),
            temporary_changes("payments", refund, order=order),
            temporary_changes("inventory", release, order=order, rest=rest),
        ):
            expect("I11", "in the order payments.refund, inventory.release", str(order))


class TestI12:
    def test_a_status_behind_the_timeline(self, orders) -> None:
        back = "UPDATE orders_order SET status = 'pending' WHERE id = %(order)s"
        paid = (
            "INSERT INTO orders_timelineevent"
            " (id, saga, seq, type, service, step, attempt, at, detail) VALUES"
            " (gen_random_uuid(), %(order)s, 1, 'payment.processed', 'payments',"
            " 'payments.charge', 1, now(), '{}')"
        )
        with temporary_changes("default", ANY_STATUS, back, paid, order=orders.open):
            expect("I12", "is pending, but its timeline has payment.processed", str(orders.open))

    def test_an_event_at_the_wrong_position(self, orders) -> None:
        moved = "UPDATE payments_outbox SET seq = 9 WHERE saga = %(order)s"
        with temporary_changes("payments", moved, order=orders.open):
            expected = position("payments.charge", PLAN)
            expect("I12", f"has position 9, expected {expected}", str(orders.open))

    def test_a_timeline_entry_that_differs_from_its_event(self, orders) -> None:
        told = (
            "UPDATE orders_timelineevent SET seq = 9"
            " WHERE type = 'stock.reserved' AND saga = %(order)s"
        )
        with temporary_changes("default", told, order=orders.fulfilled):
            expect("I12", "the timeline has stock.reserved at position 9", str(orders.fulfilled))

    @pytest.mark.parametrize("before", ["payments.authorize", "inventory.reserve"])
    def test_a_pivot_before_the_steps_that_come_before_it(self, orders, before) -> None:
        service = before.partition(".")[0]
        refused = (
            f"UPDATE {service}_inbox SET state = 'refused'"
            f" WHERE step = '{before}' AND saga = %(order)s"
        )
        with temporary_changes(service, refused, order=orders.authorized):
            expect("I12", f"but {before}, which comes first, is refused", str(orders.authorized))


class TestI13:
    def test_an_order_that_has_not_ended_in_time(self, orders) -> None:
        (verdict,) = [
            verdict
            for verdict in audit(expect_ended=True).verdicts
            if verdict.invariant.id == "I13"
        ]
        assert [violation.subject for violation in verdict.shown] == [str(orders.open)]


class TestI14:
    def test_stock_that_is_held_by_an_order_that_has_ended(self, orders) -> None:
        held = "UPDATE inventory_reservation SET state = 'held' WHERE order_id = %(order)s"
        with temporary_changes("inventory", held, order=orders.cancelled_late):
            expect("I14", "still holds 2 of MUG", str(orders.cancelled_late))

    def test_an_authorization_that_is_left_open(self, orders) -> None:
        held = (
            "UPDATE payments_payment SET status = 'authorized', authorization_expires_at = now()"
            " WHERE order_id = %(order)s"
        )
        with temporary_changes("payments", held, order=orders.authorized_in_vain):
            expect("I14", "its payment is authorized", str(orders.authorized_in_vain))

    @pytest.mark.parametrize(("status", "charge"), [("pending", "NULL"), ("captured", "'ch_1'")])
    def test_a_payment_that_is_left_open(self, orders, status, charge) -> None:
        left = (
            f"UPDATE payments_payment SET status = '{status}', charge_id = {charge},"
            " refunded_amount = 0"
            " WHERE order_id = %(order)s"
        )
        with temporary_changes("payments", left, order=orders.cancelled):
            expect("I14", f"its payment is {status}", str(orders.cancelled))

    def test_a_step_of_a_cancelled_order_that_was_not_undone(self, orders) -> None:
        left = (
            "UPDATE inventory_inbox SET state = 'waiting'"
            " WHERE step = 'inventory.release' AND saga = %(order)s"
        )
        with temporary_changes("inventory", left, order=orders.cancelled_late):
            expect(
                "I14",
                "inventory.reserve is done, but inventory.release is not",
                str(orders.cancelled_late),
            )


class TestI15:
    @pytest.mark.parametrize(
        ("kind", "status"), [("fulfilled", "cancelled"), ("out_of_stock", "fulfilled")]
    )
    def test_a_terminal_state_that_became_the_other(self, orders, kind, status) -> None:
        turned = (
            f"UPDATE orders_order SET status = '{status}', failure_code = 'x' WHERE id = %(order)s"
        )
        with temporary_changes("default", ANY_STATUS, turned, order=getattr(orders, kind)):
            expect("I15", f"is {status}, but was", str(getattr(orders, kind)))

    def test_a_fulfilled_order_with_a_step_that_was_undone(self, orders) -> None:
        undone = twice("payments_inbox", f"saga = '{orders.fulfilled}'", step="'payments.refund'")
        with temporary_changes("payments", undone):
            expect("I15", "is fulfilled, but payments.refund is done", str(orders.fulfilled))

    def test_a_fulfilled_order_that_is_open_again(self, orders) -> None:
        reopened = "UPDATE orders_order SET status = 'paid', ended_at = NULL WHERE id = %(order)s"
        with temporary_changes("default", ANY_STATUS, reopened, order=orders.fulfilled):
            expect("I15", "is paid, but orders.fulfil is done", str(orders.fulfilled))
