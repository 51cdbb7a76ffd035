"""The invariants of docs/guarantees.md, and the checks of each.

Three databases, read afterwards, cannot show everything. These parts are not checked:

- I1 and I2: the answers to clients. Only a client's own record shows an order that was answered
  and lost.
- I11: an action that ran again after its undo and failed. If it had an effect, I3, I7 or I14 shows
  it.
- I12: the order in which past events were applied. Only their result is checked.
- I13: the time of the last fault. `--expect-ended` assumes that it is long enough ago.
- I15: earlier states. A terminal state that changed would have left the event or the step of the
  other end.
- Messages of sagas that a service purged, after SAGA_RETENTION_DAYS. Their effects on money and
  stock are checked.
"""

from audit.checks import kinds, messages, money, orders, step_order, stock
from audit.invariant_types import Invariant
from sagas.definition.names import by_name

__all__ = ["INVARIANTS"]

INVARIANTS = (
    Invariant(
        id="I1",
        title="Every order reaches fulfilled or cancelled",
        orders=(orders.cancelled_means_ended,),
        ended_orders=(orders.ended_means_terminal,),
        tables=(orders.no_order_is_open,),
    ),
    Invariant(
        id="I2", title="One order per user and idempotency key", tables=(orders.keys_are_used_once,)
    ),
    Invariant(
        id="I3",
        title="The money kept is the order's amount if fulfilled, less recorded refunds and "
        "disputes, and 0 if cancelled; captured once and in full; no more refunded than captured",
        orders=(money.captured_at_most_once, money.refunded_at_most_captured),
        ended_orders=(
            money.money_kept_is_explained,
            money.fulfilled_orders_are_paid_in_full,
            money.charged_in_the_orders_currency,
            stock.charged_only_for_stock_that_was_held,
        ),
        uses_ledger=True,
    ),
    Invariant(
        id="I4",
        title="All money kept is the sum of the fulfilled orders, less recorded refunds and "
        "disputes",
        tables=(money.sums_agree,),
        uses_ledger=True,
    ),
    Invariant(
        id="I5",
        title="The gateway's ledger and our payments have the same sums of each charge",
        ended_orders=(money.payments_agree_with_the_ledger, money.parts_agree_with_the_ledger),
        tables=(money.payments_belong_to_orders, money.ledger_belongs_to_orders),
        uses_ledger=True,
    ),
    Invariant(
        id="I6",
        title="No stock counter is negative; on hand + reserved + shipped - returned is the "
        "quantity received and adjusted",
        tables=(stock.counters_add_up,),
    ),
    Invariant(
        id="I7",
        title="Reservations and returns add up to the stock counters and to the quantities "
        "ordered; no order returns more than it got",
        ended_orders=(stock.shipped_is_what_was_ordered,),
        tables=(
            stock.reservations_add_up_to_the_counters,
            stock.reservations_belong_to_orders,
            stock.no_order_returns_more_than_it_got,
        ),
    ),
    Invariant(
        id="I8",
        title="No event without its change, and no lost event",
        sagas=(messages.every_event_reports_a_change,),
        ended_sagas=(
            messages.every_message_arrived,
            messages.every_message_was_sent,
            messages.every_step_was_requested,
        ),
        tables=(messages.messages_belong_to_sagas,),
    ),
    Invariant(
        id="I9",
        title="Every change of state has its event",
        sagas=(messages.steps_have_their_events,),
        ended_order_sagas=(
            messages.ends_have_their_events,
            messages.payments_and_stock_have_their_events,
        ),
    ),
    Invariant(
        id="I10",
        title="At most one effect per order, step and direction",
        orders=(money.moved_at_most_once, stock.reserved_at_most_once),
        sagas=(messages.happened_at_most_once,),
    ),
    Invariant(
        id="I11",
        title="Only steps that were done are undone, in reverse order, and are barred afterwards",
        sagas=(step_order.undone_means_barred,),
        ended_sagas=(step_order.undone_in_reverse_order,),
        ended_order_sagas=(stock.stock_moved_is_what_was_reserved,),
    ),
    Invariant(
        id="I12",
        title="The events of an order are applied in order",
        sagas=(
            step_order.forward_in_the_order_of_the_plan,
            step_order.timeline_matches_the_outboxes,
        ),
        ended_sagas=(step_order.done_after_the_step_before,),
        tables=(orders.status_follows_the_timeline,),
    ),
    Invariant(
        id="I13",
        title="All orders and other sagas have ended (checked with --expect-ended)",
        tables=(orders.no_order_is_open, kinds.no_saga_is_open),
    ),
    Invariant(
        id="I14",
        title="An ended order holds no money and no stock",
        ended_orders=(money.no_money_is_left_open, stock.no_stock_is_left_held),
        ended_sagas=(step_order.cancelled_means_undone,),
        tables=(money.no_refund_is_left_open,),
    ),
    Invariant(
        id="I15",
        title="A terminal state never changes",
        ended_sagas=(step_order.fulfilled_means_not_undone,),
        ended_order_sagas=(orders.terminal_status_has_no_event_of_the_other,),
        tables=(orders.terminal_step_has_its_status,),
    ),
    Invariant(
        id="I21",
        title="Sagas of each kind keep the invariants of their domain",
        kinds=(kinds.domain_invariants_hold,),
    ),
    Invariant(
        id="I22",
        title="A child saga has the step that started it, which goes on when the child has ended",
        tables=(kinds.children_have_parents,),
    ),
)

by_name("The invariant", INVARIANTS, lambda invariant: invariant.id)
