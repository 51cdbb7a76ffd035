"""The writes of payments: one or two statements for a whole batch of orders.

Call them inside a transaction.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from django.conf import settings
from msgspec.structs import asdict

from payments.amounts import in_words
from payments.models import Payment
from sagas.definition.messages import to_json
from sagas.ids import uuid7
from sagas.storage import sql

__all__ = [
    "IllegalTransition",
    "NewPayment",
    "PaymentUpdate",
    "lock_payments",
    "open_payments",
    "payments_of",
    "update_payments",
]

Status = Payment.Status

# pending → refunded: the answer to the charge was lost, and the refund found the money.
# void or declined → refunded: money came in after all, and was given back.
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

# Nothing was captured, and nothing will be. A payment keeps the first of the two that it gets.
NEVER_CAPTURED = {Status.VOID, Status.DECLINED}

OPEN = """
    INSERT INTO payments_payment
        (id, order_id, amount, currency, payment_method, charge_key, refund_key, gateway)
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb)
        AS new (id uuid, order_id uuid, amount bigint, currency text, payment_method text,
                charge_key text, refund_key text, gateway text)
    ORDER BY order_id
    ON CONFLICT (order_id) DO NOTHING
    RETURNING order_id
"""
UPDATE = """
    UPDATE payments_payment AS payment
    SET status = new.status, charge_id = new.charge_id, refunded_amount = new.refunded_amount,
        decline_code = new.decline_code, refund_reference = new.refund_reference,
        updated_at = clock_timestamp(),
        authorization_expires_at =
            COALESCE(new.authorization_expires_at, payment.authorization_expires_at)
    FROM jsonb_to_recordset(%(rows)s::jsonb)
        AS new (order_id uuid, status text, charge_id text, refunded_amount bigint,
                decline_code text, refund_reference text, authorization_expires_at timestamptz)
    WHERE payment.order_id = new.order_id
"""


class IllegalTransition(Exception):
    """A payment in a final status was to change.

    The order's rows in payments_inbox and the gateway's ledger show what happened.
    """


class NewPayment(msgspec.Struct, frozen=True):
    """The fields of a payment to open."""

    order_id: UUID
    amount: int
    currency: str
    payment_method: str

    @property
    def charge_key(self) -> str:
        """The idempotency key of the order's charge."""
        return f"charge-{self.order_id}"

    @property
    def refund_key(self) -> str:
        """The idempotency key of the order's refund."""
        return f"refund-{self.order_id}"


class PaymentUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """The new status of an order's payment, with the details from the gateway's answer."""

    order_id: UUID
    status: Payment.Status
    charge_id: str | None = None
    refunded_amount: int = 0
    decline_code: str = ""
    authorization_expires_at: datetime | None = None
    refund_reference: str = ""


def open_payments(payments: Sequence[NewPayment]) -> set[UUID]:
    """Insert a pending payment for each order that has none; return the order ids inserted.

    The payment stays with the gateway that is configured now.
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
    opened = sql.fetch("payments", OPEN, {"rows": sql.json_rows(rows)})
    return {order for (order,) in opened}


def payments_of(orders: Collection[UUID]) -> dict[UUID, Payment]:
    """Return the payments of some orders by order id."""
    return {payment.order_id: payment for payment in Payment.objects.filter(order_id__in=orders)}


def lock_payments(orders: Collection[UUID]) -> dict[UUID, Payment]:
    """Lock the payments of some orders until the commit, by order id; return them by order id."""
    locked = (
        Payment.objects.filter(order_id__in=orders)
        .order_by("order_id")
        .select_for_update(no_key=True)
    )
    return {payment.order_id: payment for payment in locked}


def update_payments(payments: Mapping[UUID, Payment], updates: Iterable[PaymentUpdate]) -> None:
    """Write the updates of locked payments. An update to the present status changes nothing.

    Raise IllegalTransition for a change that `TRANSITIONS` does not have.
    """
    changes = [update for update in updates if _is_change(payments[update.order_id], update)]
    if changes:
        sql.run("payments", UPDATE, {"rows": to_json(changes)})


def _is_change(payment: Payment, update: PaymentUpdate) -> bool:
    before, after = payment.status, update.status
    if before == after or {before, after} == NEVER_CAPTURED:
        return False

    if after not in TRANSITIONS.get(Status(before), ()):
        amount = in_words(payment.amount, payment.currency)
        raise IllegalTransition(
            f"The payment of order {payment.order_id} ({amount}) is {before} and cannot become "
            f"{after}. Compare the order's rows in payments_inbox with the ledger of gateway "
            f"{payment.gateway or settings.PAYMENT_GATEWAY}."
        )
    return True
