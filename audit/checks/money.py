"""Money: the gateway's ledger, the payments, and the orders. All amounts are in minor units."""

from collections import Counter
from collections.abc import Iterator

from audit.invariant_types import AuditContext, TableResult, Violation
from audit.snapshot import Movement, OrderSnapshot, Payment

__all__ = [
    "add_to_balance",
    "captured_at_most_once",
    "charged_in_the_orders_currency",
    "ledger_belongs_to_orders",
    "moved_at_most_once",
    "net_captured_is_the_amount_owed",
    "no_money_is_left_open",
    "payments_agree_with_the_ledger",
    "payments_belong_to_orders",
    "refunded_at_most_captured",
    "sums_agree",
]

PAYMENTS = ("payments", "payments_payment", "order_id")


def net_captured_is_the_amount_owed(order: OrderSnapshot) -> Iterator[str]:
    """The whole amount of a fulfilled order is kept, and nothing of a cancelled one."""
    owed = _amount_owed(order)
    if order.net_captured != owed:
        row = order.order
        yield (
            f"is {row.status}, amount {row.amount} {row.currency}: "
            f"{order.net_captured} captured less refunded, expected {owed}"
        )


def charged_in_the_orders_currency(order: OrderSnapshot) -> Iterator[str]:
    """Money moves in the currency of the order."""
    currencies = {movement.currency for movement in order.movements}
    for currency in sorted(currencies - {order.order.currency}):
        yield f"is in {order.order.currency}, but the gateway moved {currency}"


def captured_at_most_once(order: OrderSnapshot) -> Iterator[str]:
    """No order is charged twice."""
    captures = _movement_counts(order)["capture"]
    if captures > 1:
        yield f"was captured {captures} times"


def refunded_at_most_captured(order: OrderSnapshot) -> Iterator[str]:
    """No order is refunded more than was captured."""
    if order.refunded > order.captured:
        yield f"{order.refunded} refunded, but only {order.captured} captured"


def moved_at_most_once(order: OrderSnapshot) -> Iterator[str]:
    """An order has one payment, one capture and one refund at most."""
    counts = {**_movement_counts(order), "payment": len(order.payments)}
    yield from (f"has {count} {kind}s" for kind, count in counts.items() if count > 1)


def no_money_is_left_open(order: OrderSnapshot) -> Iterator[str]:
    """An ended order has no pending or authorized payment; a cancelled one has no captured one."""
    for payment in order.payments:
        unfinished = payment.status in ("pending", "authorized")
        if unfinished or (order.cancelled and payment.status == "captured"):
            yield f"is {order.order.status}, but its payment is {payment.status}"


def payments_agree_with_the_ledger(order: OrderSnapshot) -> Iterator[str]:
    """Payments and ledger list the same captures and refunds of the same charges."""
    in_payments = Counter(
        movement for payment in order.payments for movement in _movements_of(payment)
    )
    in_ledger = Counter(order.movements)
    yield from (
        f"payments has a {_describe(movement)}, but the gateway's ledger does not"
        for movement in in_payments - in_ledger
    )
    yield from (
        f"the gateway's ledger has a {_describe(movement)}, but payments does not"
        for movement in in_ledger - in_payments
    )


def payments_belong_to_orders(context: AuditContext) -> Iterator[TableResult]:
    """Every payment belongs to an order."""
    orphans = context.orphans(*PAYMENTS)
    violations = [
        Violation(str(order), "payments_payment has a row of it, but there is no such order")
        for order in orphans.ids
    ]
    yield TableResult(orphans.checked, "payments", violations)


def ledger_belongs_to_orders(context: AuditContext) -> Iterator[TableResult]:
    """Every capture and refund in the ledger belongs to an order."""
    orphans = context.ledger_orphans()
    violations = [
        Violation(str(order), "the gateway's ledger has money of it, but there is no such order")
        for order in orphans.ids
    ]
    yield TableResult(orphans.checked, "ledger orders", violations)


def add_to_balance(context: AuditContext, order: OrderSnapshot) -> None:
    """Add an ended order to the balance of its currency: the money kept, less the amount owed."""
    for movement in order.movements:
        sign = 1 if movement.kind == "capture" else -1
        context.balance[movement.currency] += sign * movement.amount
    context.balance[order.order.currency] -= _amount_owed(order)


def sums_agree(context: AuditContext) -> Iterator[TableResult]:
    """The money kept of ended orders, and of no order, is the sum of the fulfilled ones."""
    balance = Counter(context.balance)
    balance.update(context.ledger.net_captured(context.ledger_orphans().ids))
    violations = [
        Violation(currency, f"{abs(excess)} too {'much' if excess > 0 else 'little'} kept")
        for currency, excess in sorted(balance.items())
        if excess
    ]
    yield TableResult(len(balance), "currencies", violations)


def _amount_owed(order: OrderSnapshot) -> int:
    return order.order.amount if order.fulfilled else 0


def _movement_counts(order: OrderSnapshot) -> Counter[str]:
    return Counter(movement.kind for movement in order.movements)


def _movements_of(payment: Payment) -> Iterator[Movement]:
    """Yield the movements that the ledger should have for a payment."""
    if payment.status in ("captured", "refunded"):
        yield Movement("capture", payment.charge_id, payment.amount, payment.currency)
    if payment.refunded_amount:
        yield Movement("refund", payment.charge_id, payment.refunded_amount, payment.currency)


def _describe(movement: Movement) -> str:
    return f"{movement.kind} of {movement.amount} {movement.currency} ({movement.charge_id})"
