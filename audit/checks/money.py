"""Money: the gateway's ledger, the payments, and the orders. All amounts are in minor units."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from audit.databases import fetch
from audit.invariant_types import AuditContext, TableResult, Violation
from audit.snapshot import OrderSnapshot
from payments.gateways.refund_keys import is_key_of
from payments.partial_refunds import PART_KEY

__all__ = [
    "add_to_balance",
    "captured_at_most_once",
    "charged_in_the_orders_currency",
    "fulfilled_orders_are_paid_in_full",
    "ledger_belongs_to_orders",
    "money_kept_is_explained",
    "moved_at_most_once",
    "no_money_is_left_open",
    "no_refund_is_left_open",
    "parts_agree_with_the_ledger",
    "payments_agree_with_the_ledger",
    "payments_belong_to_orders",
    "refunded_at_most_captured",
    "sums_agree",
]

PAYMENTS = ("payments", "payments_payment", "order_id")

LEFT_OPEN = """
SELECT part.id, part.amount, part.currency
  FROM payments_partialrefund part
  LEFT JOIN payments_inbox row ON row.saga = part.id AND row.step = 'payments.refund_part'
 WHERE part.status = 'pending' AND (row.state IS NULL OR row.state IN ('done', 'refused'))
 ORDER BY part.id
"""
PENDING_PARTS = "SELECT count(*) FROM payments_partialrefund WHERE status = 'pending'"

# The sum to which each kind of movement belongs.
MOVED = {
    "capture": "captured",
    "refund": "refunded",
    "dispute": "disputed",
    "dispute_return": "disputed",
}


class _Item(NamedTuple):
    """A sum of a charge: captured, refunded or disputed, in one currency."""

    kind: str
    charge_id: str
    currency: str


def money_kept_is_explained(order: OrderSnapshot) -> Iterator[str]:
    """Of a fulfilled order, its amount is kept, less the refunds and disputes that payments has
    recorded. Of a cancelled order, only the amount that was paid to the customer in another way.
    """
    expected = _amount_to_keep(order) - order.not_recorded_yet
    if order.kept != expected:
        row = order.order
        yield "; ".join(
            [
                f"is {row.status}, amount {row.amount} {row.currency}: "
                f"{order.kept} kept, expected {expected}",
                *_not_recorded(order),
                *_owed(order),
            ]
        )


def fulfilled_orders_are_paid_in_full(order: OrderSnapshot) -> Iterator[str]:
    """An order is fulfilled only if its whole amount was captured. Refunds may follow later."""
    for payment in order.payments:
        if order.fulfilled and payment.captured != order.order.amount:
            yield (
                f"is fulfilled, amount {order.order.amount} {order.order.currency}, but only "
                f"{payment.captured} {payment.currency} were captured"
            )


def charged_in_the_orders_currency(order: OrderSnapshot) -> Iterator[str]:
    """Money moves in the currency of the order."""
    currencies = {movement.currency for movement in order.movements}
    for currency in sorted(currencies - {order.order.currency}):
        yield f"is in {order.order.currency}, but the gateway moved {currency}"


def captured_at_most_once(order: OrderSnapshot) -> Iterator[str]:
    """No order is charged twice."""
    captures = _captures(order)
    if captures > 1:
        yield f"was captured {captures} times"


def refunded_at_most_captured(order: OrderSnapshot) -> Iterator[str]:
    """No order is refunded more than was captured."""
    if order.refunded > order.captured:
        yield f"{order.refunded} refunded, but only {order.captured} captured"


def moved_at_most_once(order: OrderSnapshot) -> Iterator[str]:
    """An order has one payment and one capture at most. A charge may have several refunds."""
    counts = {"capture": _captures(order), "payment": len(order.payments)}
    yield from (f"has {count} {kind}s" for kind, count in counts.items() if count > 1)


def no_money_is_left_open(order: OrderSnapshot) -> Iterator[str]:
    """An ended order has no pending or authorized payment; a cancelled one has no captured one."""
    for payment in order.payments:
        unfinished = payment.status in ("pending", "authorized")
        if unfinished or (order.cancelled and payment.status == "captured"):
            found = f"is {order.order.status}, but its payment is {payment.status}"
            yield "; ".join([found, *_owed(order)])


def payments_agree_with_the_ledger(order: OrderSnapshot) -> Iterator[str]:
    """Payments and ledger have the same sums captured, refunded and disputed of each charge."""
    in_payments, in_ledger = _sums_in_payments(order), _sums_in_ledger(order)
    for part in order.open_parts()[:1]:
        charge_id = str(order.payments[0].charge_id) if order.payments else ""
        in_payments[_Item("refunded", charge_id, part.currency)] += order.not_recorded_yet
    for item in sorted(in_payments.keys() | in_ledger.keys()):
        ours, theirs = in_payments[item], in_ledger[item]
        if ours != theirs:
            yield (
                f"payments has {ours} {item.currency} {item.kind} of {item.charge_id}, "
                f"but the gateway's ledger has {theirs}"
            )


def parts_agree_with_the_ledger(order: OrderSnapshot) -> Iterator[str]:
    """The ledger has given back the recorded amount under the key of each part, and no other part
    of the order.
    """
    open_parts = {part.id for part in order.open_parts()}
    for part in order.parts_after:
        given_back = order.given_back(part)
        if part.id not in open_parts and part.refunded != given_back:
            yield (
                f"payments has {part.refunded} {part.currency} given back for saga {part.id}, but "
                f"the gateway's ledger has {given_back} under its key"
            )
        if part.status == "succeeded" and part.refunded + part.covered != part.amount:
            yield f"the partial refund of saga {part.id} has succeeded, but not as a whole"

    recorded = sum(part.refunded for part in order.parts_after)
    refunded = sum(payment.refunded for payment in order.payments)
    if not open_parts and recorded > refunded:
        yield f"{recorded} given back by partial refunds, but {refunded} by all refunds"
    yield from _unknown_parts(order)


def _unknown_parts(order: OrderSnapshot) -> Iterator[str]:
    for movement in order.movements:
        is_part = movement.kind == "refund" and movement.key.startswith(PART_KEY)
        if is_part and not any(is_key_of(movement.key, part.key) for part in order.parts_after):
            yield (
                f"the gateway's ledger has {movement.amount} {movement.currency} given back under "
                f"{movement.key}, which payments does not know"
            )


def no_refund_is_left_open(context: AuditContext) -> Iterator[TableResult]:
    """Each pending partial refund has its step under way."""
    rows = fetch("payments", LEFT_OPEN)
    violations = [
        Violation(str(saga), f"its refund of {amount} {currency} is pending, but no step makes it")
        for saga, amount, currency in rows
    ]
    ((pending,),) = fetch("payments", PENDING_PARTS)
    yield TableResult(pending, "pending partial refunds", violations)


def payments_belong_to_orders(context: AuditContext) -> Iterator[TableResult]:
    """Every payment belongs to an order."""
    orphans = context.orphans(*PAYMENTS)
    violations = [
        Violation(str(order), "payments_payment has a row of it, but there is no such order")
        for order in orphans.ids
    ]
    yield TableResult(orphans.checked, "payments", violations)


def ledger_belongs_to_orders(context: AuditContext) -> Iterator[TableResult]:
    """Every movement of money in the ledger belongs to an order."""
    orphans = context.ledger_orphans()
    violations = [
        Violation(str(order), "the gateway's ledger has money of it, but there is no such order")
        for order in orphans.ids
    ]
    yield TableResult(orphans.checked, "ledger orders", violations)


def add_to_balance(context: AuditContext, order: OrderSnapshot) -> None:
    """Add an ended order to the balance of its currency: the money kept, less that to keep."""
    for movement in order.movements:
        context.balance[movement.currency] += movement.kept
    context.balance[order.order.currency] -= _amount_to_keep(order) - order.not_recorded_yet


def sums_agree(context: AuditContext) -> Iterator[TableResult]:
    """The money kept of ended orders, and of no order, is the sum of the amounts to keep."""
    balance = Counter(context.balance)
    balance.update(context.ledger.kept(context.ledger_orphans().ids))
    violations = [
        Violation(currency, f"{abs(excess)} too {'much' if excess > 0 else 'little'} kept")
        for currency, excess in sorted(balance.items())
        if excess
    ]
    yield TableResult(len(balance), "currencies", violations)


def _amount_to_keep(order: OrderSnapshot) -> int:
    """Return the money that we should have of an ended order.

    An open dispute of a refunded charge has withdrawn the money a second time, until it is won.
    """
    if order.fulfilled:
        return order.order.amount - sum(each.refunded + each.disputed for each in order.payments)
    paid_otherwise = sum(each.paid_otherwise for each in order.payments)
    return paid_otherwise - sum(
        each.refunded + each.disputed - each.captured
        for each in order.payments
        if each.dispute_status == "open" and each.refunded + each.disputed > each.captured
    )


def _not_recorded(order: OrderSnapshot) -> Iterator[str]:
    refunded = order.refunded - sum(each.refunded for each in order.payments)
    refunded -= order.not_recorded_yet
    disputed = order.disputed - sum(each.disputed for each in order.payments)
    if refunded > 0:
        yield f"{refunded} refunded at the gateway, which payments has not recorded"
    if disputed > 0:
        yield f"{disputed} withdrawn by disputes, which payments has not recorded"


def _owed(order: OrderSnapshot) -> Iterator[str]:
    for payment in order.payments:
        if payment.owed:
            yield f"{payment.owed} {payment.currency} are owed to the customer, and not paid yet"


def _captures(order: OrderSnapshot) -> int:
    return sum(movement.kind == "capture" for movement in order.movements)


def _sums_in_payments(order: OrderSnapshot) -> Counter[_Item]:
    sums: Counter[_Item] = Counter()
    for payment in order.payments:
        for kind, amount in (
            ("captured", payment.captured),
            ("refunded", payment.refunded),
            ("disputed", payment.disputed),
        ):
            sums[_Item(kind, str(payment.charge_id), payment.currency)] += amount
    return sums


def _sums_in_ledger(order: OrderSnapshot) -> Counter[_Item]:
    sums: Counter[_Item] = Counter()
    for movement in order.movements:
        sign = -1 if movement.kind == "dispute_return" else 1
        item = _Item(MOVED[movement.kind], str(movement.charge_id), movement.currency)
        sums[item] += sign * movement.amount
    return sums
