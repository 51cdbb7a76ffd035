"""The invariants, and the checks that each consists of.

What cannot be told from three databases afterwards is left out, and this is what that is:

- I1 and I2: what a client was answered. Only the client's own record tells of an order that was
  answered and lost.
- I11: that an action did not begin again after its undo and fail. Had it had an effect, I3, I7 or
  I14 would show it.
- I12: the order in which events were applied in the past. What they led to is looked at.
- I13: when the last fault ended. With `--expect-ended`, it is taken to be long enough ago.
- I15: earlier states. A terminal state that changed would have left the event or the step of
  another end.
- Messages of sagas that a service has purged, after SAGA_RETENTION_DAYS; what they did to money and
  stock is looked at.
"""

from audit.checks import messages, money, orders, stock, walks
from audit.invariant import Invariant

__all__ = ["INVARIANTS"]

INVARIANTS = (
    Invariant(
        id="I1",
        says="Every order reaches fulfilled or cancelled",
        orders=(orders.cancelled_means_ended,),
        ended_orders=(orders.ended_means_terminal,),
        tables=(orders.none_is_open,),
    ),
    Invariant(
        id="I2", says="One order per user and idempotency key", tables=(orders.keys_are_used_once,)
    ),
    Invariant(
        id="I3",
        says="Captured − refunded is the amount if fulfilled, 0 if cancelled; captured once; refunded ≤ captured",
        orders=(money.captured_at_most_once, money.refunded_at_most_captured),
        ended_orders=(
            money.kept_is_what_the_order_is_worth,
            money.charged_in_the_orders_currency,
            stock.charged_for_what_is_there_alone,
        ),
        uses_ledger=True,
    ),
    Invariant(
        id="I4",
        says="All that is kept is the sum of the fulfilled orders",
        tables=(money.sums_agree,),
        uses_ledger=True,
    ),
    Invariant(
        id="I5",
        says="The gateway's ledger and our payments agree in both directions",
        ended_orders=(money.payments_agree_with_the_ledger,),
        tables=(money.payments_know_our_orders_alone, money.ledger_knows_our_orders_alone),
        uses_ledger=True,
    ),
    Invariant(
        id="I6",
        says="No counter of stock is negative; on hand + reserved + shipped is what was received and adjusted",
        tables=(stock.counters_add_up,),
    ),
    Invariant(
        id="I7",
        says="Reservations add up to the counters, and to what was ordered",
        ended_orders=(stock.shipped_is_what_was_ordered,),
        tables=(
            stock.reservations_add_up_to_the_counters,
            stock.reservations_know_our_orders_alone,
        ),
    ),
    Invariant(
        id="I8",
        says="No ghost event and no lost event",
        sagas=(messages.every_event_tells_of_a_change,),
        ended_sagas=(
            messages.every_message_arrived,
            messages.every_message_was_sent,
            messages.every_step_was_asked_for,
        ),
        tables=(messages.messages_know_our_orders_alone,),
    ),
    Invariant(
        id="I9",
        says="Every change of state has its event",
        sagas=(messages.steps_have_their_events,),
        ended_sagas=(
            messages.ends_have_their_events,
            messages.payments_and_stock_have_their_events,
        ),
    ),
    Invariant(
        id="I10",
        says="At most one effect per order, step and direction",
        orders=(money.moved_at_most_once, stock.reserved_at_most_once),
        sagas=(messages.happened_at_most_once,),
    ),
    Invariant(
        id="I11",
        says="Only what was done is undone, in reverse order, and is barred from then on",
        sagas=(walks.undone_means_barred,),
        ended_sagas=(walks.undone_in_reverse_order, stock.stock_moved_is_what_was_reserved),
    ),
    Invariant(
        id="I12",
        says="The events of an order are applied in order",
        sagas=(walks.forward_in_the_order_of_the_plan, walks.timeline_is_what_happened),
        ended_sagas=(walks.done_behind_what_is_done,),
        tables=(orders.status_follows_the_timeline,),
    ),
    Invariant(
        id="I13",
        says="All orders have ended (checked with --expect-ended)",
        tables=(orders.none_is_open,),
    ),
    Invariant(
        id="I14",
        says="Nothing is held by an order that has ended",
        ended_orders=(money.no_money_is_left_open, stock.no_stock_is_left_held),
        ended_sagas=(walks.cancelled_means_undone,),
    ),
    Invariant(
        id="I15",
        says="A terminal state never changes",
        ended_sagas=(orders.terminal_state_has_its_event_alone,),
        tables=(orders.terminal_step_has_its_status,),
    ),
)
