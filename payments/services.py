"""What payments writes, each for a whole batch of orders in a statement or two. Call them inside
a transaction.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from django.conf import settings
from msgspec.structs import asdict

from payments.models import Payment
from sagas.definition.messages import to_json
from sagas.ids import uuid7
from sagas.storage import sql

__all__ = [
    "IllegalTransition",
    "NewPayment",
    "Settlement",
    "lock_payments",
    "open_payments",
    "payments_of",
    "settle",
]

Status = Payment.Status

# pending → refunded: the answer to the charge was lost, and the refund found the money. void or
# declined → refunded: money came in after all, and went back.
TRANSITIONS = {
    Status.PENDING: {
        Status.AUTHORIZED,
        Status.CAPTURED,
        Status.DECLINED,
        Status.VOID,
        Status.REFUNDED,
    },
    Status.AUTHORIZED: {Status.CAPTURED, Status.DECLINED, Status.VOID, Status.REFUNDED},
    Status.CAPTURED: {Status.REFUNDED},
    Status.VOID: {Status.REFUNDED},
    Status.DECLINED: {Status.REFUNDED},
}

# Nothing is captured, and nothing will be: which of the two the gateway said first is kept.
FOR_NOTHING = {Status.VOID, Status.DECLINED}

OPEN = """
    INSERT INTO payments_payment (id, order_id, amount, currency, payment_method, charge_key, refund_key, gateway)
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb)
        AS new (id uuid, order_id uuid, amount bigint, currency text, payment_method text, charge_key text,
                refund_key text, gateway text)
    ORDER BY order_id
    ON CONFLICT (order_id) DO NOTHING
    RETURNING order_id
"""
SETTLE = """
    UPDATE payments_payment AS payment
    SET status = settled.status, charge_id = settled.charge_id, refunded_amount = settled.refunded_amount,
        decline_code = settled.decline_code, refund_reference = settled.refund_reference,
        updated_at = clock_timestamp(),
        authorization_expires_at = COALESCE(settled.authorization_expires_at, payment.authorization_expires_at)
    FROM jsonb_to_recordset(%(rows)s::jsonb)
        AS settled (order_id uuid, status text, charge_id text, refunded_amount bigint, decline_code text,
                    refund_reference text, authorization_expires_at timestamptz)
    WHERE payment.order_id = settled.order_id
"""


class IllegalTransition(Exception):
    """A payment in a final state was to change. Its inbox and the gateway's ledger say what
    happened.
    """


class NewPayment(msgspec.Struct, frozen=True):
    """What a payment is opened with."""

    order_id: UUID
    amount: int
    currency: str
    payment_method: str

    @property
    def charge_key(self) -> str:
        """The idempotency key that the order's charge is asked for under."""
        return f"charge-{self.order_id}"

    @property
    def refund_key(self) -> str:
        """The idempotency key that its refund is asked for under."""
        return f"refund-{self.order_id}"


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order's payment."""

    order_id: UUID
    status: Payment.Status
    charge_id: str | None = None
    refunded_amount: int = 0
    decline_code: str = ""
    authorization_expires_at: datetime | None = None
    refund_reference: str = ""


def open_payments(payments: Sequence[NewPayment]) -> set[UUID]:
    """Insert the payments that orders do not have yet, as pending; return the orders that got
    theirs just now.

    They are the configured gateway's for good.
    """
    gateway = settings.PAYMENT_GATEWAY
    rows = [
        {
            **asdict(new),
            "id": uuid7(),
            "charge_key": new.charge_key,
            "refund_key": new.refund_key,
            "gateway": gateway,
        }
        for new in payments
    ]
    return {order for (order,) in sql.fetch("payments", OPEN, {"rows": sql.json_rows(rows)})}


def payments_of(orders: Collection[UUID]) -> dict[UUID, Payment]:
    """Return the payments of some orders, by order."""
    return {payment.order_id: payment for payment in Payment.objects.filter(order_id__in=orders)}


def lock_payments(orders: Collection[UUID]) -> dict[UUID, Payment]:
    """Return the payments of some orders, by order, locked in the order of the orders' ids until
    the commit.
    """
    locked = (
        Payment.objects.filter(order_id__in=orders)
        .order_by("order_id")
        .select_for_update(no_key=True)
    )
    return {payment.order_id: payment for payment in locked}


def settle(payments: Mapping[UUID, Payment], settlements: Iterable[Settlement]) -> None:
    """Write what became of some locked payments. To settle one as what it is already changes
    nothing.

    Raise IllegalTransition for one that may not change.
    """
    changed = [
        settlement
        for settlement in settlements
        if _changes(payments[settlement.order_id], settlement)
    ]
    if changed:
        _write(changed)


def _changes(payment: Payment, settlement: Settlement) -> bool:
    if payment.status == settlement.status or {payment.status, settlement.status} == FOR_NOTHING:
        return False
    if settlement.status not in TRANSITIONS.get(Status(payment.status), ()):
        raise IllegalTransition(
            f"The payment of order {payment.order_id} is {payment.status} and cannot become {settlement.status}."
        )
    return True


def _write(settlements: Sequence[Settlement]) -> None:
    sql.run("payments", SETTLE, {"rows": to_json(settlements)})
