"""Money: what the gateway moved, what payments knows of it, and what the orders are worth. Minor
units throughout.
"""

from collections import Counter
from collections.abc import Iterator

from audit.case import Case, Movement, Payment
from audit.invariant import Scope, Seen, Violation

__all__ = [
    "captured_at_most_once",
    "charged_in_the_orders_currency",
    "kept_is_what_the_order_is_worth",
    "ledger_knows_our_orders_alone",
    "moved_at_most_once",
    "no_money_is_left_open",
    "payments_agree_with_the_ledger",
    "payments_know_our_orders_alone",
    "refunded_at_most_captured",
    "sums_agree",
    "weigh",
]

PAYMENTS = ("payments", "payments_payment", "order_id")


def kept_is_what_the_order_is_worth(case: Case) -> Iterator[str]:
    """A fulfilled order's whole amount is kept, and nothing of a cancelled one's."""
    _, status, amount, currency, *_ = case.order
    if case.kept != _worth(case):
        yield f"is {status}, of {amount} {currency}: {case.kept} kept, not {_worth(case)}"


def charged_in_the_orders_currency(case: Case) -> Iterator[str]:
    """Money moves in the currency of the order."""
    for currency in sorted(
        {movement.currency for movement in case.movements} - {case.order.currency}
    ):
        yield f"is in {case.order.currency}, but moved {currency}"


def captured_at_most_once(case: Case) -> Iterator[str]:
    """No order is charged twice."""
    if (times := _times(case)["capture"]) > 1:
        yield f"was captured {times} times"


def refunded_at_most_captured(case: Case) -> Iterator[str]:
    """No more goes back than was taken."""
    if case.refunded > case.captured:
        yield f"{case.refunded} refunded of {case.captured} captured"


def moved_at_most_once(case: Case) -> Iterator[str]:
    """One payment, one capture and one refund, for an order."""
    times = {**_times(case), "payment": len(case.payments)}
    yield from (f"has {count} {kind}s" for kind, count in times.items() if count > 1)


def no_money_is_left_open(case: Case) -> Iterator[str]:
    """An order that has ended has no payment that is pending or authorized, nor a cancelled one
    money that is kept.
    """
    for payment in case.payments:
        if payment.status in ("pending", "authorized") or (
            case.cancelled and payment.status == "captured"
        ):
            yield f"is {case.order.status}, but its payment is {payment.status}"


def payments_agree_with_the_ledger(case: Case) -> Iterator[str]:
    """Payments and ledger list the same captures and refunds of the same charges."""
    known = Counter(movement for payment in case.payments for movement in _as_known(payment))
    booked = Counter(case.movements)
    yield from (
        f"payments has a {_said(movement)} that the ledger has not" for movement in known - booked
    )
    yield from (
        f"the ledger has a {_said(movement)} that payments has not" for movement in booked - known
    )


def payments_know_our_orders_alone(scope: Scope) -> Iterator[Seen]:
    """Every payment belongs to an order."""
    looked_at, unknown = scope.strangers(*PAYMENTS)
    violations = (
        Violation(str(order), "is no order, but payments_payment has it") for order in unknown
    )
    yield Seen(looked_at, "payments", violations)


def ledger_knows_our_orders_alone(scope: Scope) -> Iterator[Seen]:
    """Every movement of money belongs to an order."""
    looked_at, unknown = scope.strangers_to_the_ledger()
    violations = (
        Violation(str(order), "is no order, but the gateway's ledger has it") for order in unknown
    )
    yield Seen(looked_at, "ledger orders", violations)


def weigh(scope: Scope, case: Case) -> None:
    """Put an ended order on the balance of its currency: what is kept of it, less what it is
    worth.
    """
    for movement in case.movements:
        scope.balance[movement.currency] += (
            movement.amount if movement.kind == "capture" else -movement.amount
        )
    scope.balance[case.order.currency] -= _worth(case)


def sums_agree(scope: Scope) -> Iterator[Seen]:
    """Over all ended orders, and money that belongs to no order, what is kept is what the
    fulfilled ones are worth.
    """
    balance = Counter(scope.balance)
    balance.update(scope.ledger.kept(scope.strangers_to_the_ledger()[1]))
    violations = [
        Violation(currency, f"{abs(over)} too {'much' if over > 0 else 'little'} kept")
        for currency, over in sorted(balance.items())
        if over
    ]
    yield Seen(len(balance), "currencies", violations)


def _worth(case: Case) -> int:
    return case.order.amount if case.fulfilled else 0


def _times(case: Case) -> Counter[str]:
    return Counter(movement.kind for movement in case.movements)


def _as_known(payment: Payment) -> Iterator[Movement]:
    if payment.status in ("captured", "refunded"):
        yield Movement("capture", payment.charge_id, payment.amount, payment.currency)
    if payment.refunded_amount:
        yield Movement("refund", payment.charge_id, payment.refunded_amount, payment.currency)


def _said(movement: Movement) -> str:
    return f"{movement.kind} of {movement.amount} {movement.currency} ({movement.charge_id})"
