"""The writes of payments: one or two statements for a whole batch of orders.

Call them inside a transaction.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from django.conf import settings
from msgspec.structs import asdict

from payments.models import Payment
from sagas import sql
from sagas.currencies import with_currency
from sagas.ids import uuid7
from sagas.sql import to_json

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
# → captured, with an owed amount: the money came in after all, or its refund failed later, and it
# is not back yet. No other update leads from those states to captured.
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

OWED_FROM = {Status.VOID, Status.DECLINED, Status.REFUNDED}

# Nothing was captured, and nothing will be. A payment keeps the first of the two that it gets.
NEVER_CAPTURED = {Status.VOID, Status.DECLINED}

# The columns that an update may change without a new status.
AMOUNTS = (
    "captured_amount",
    "refunded_amount",
    "owed_amount",
    "disputed_amount",
    "dispute_status",
)

OPEN = """
    INSERT INTO payments_payment
        (id, order_id, amount, currency, payment_method, saga_started_at, charge_key, refund_key,
         gateway)
    SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb)
        AS new (id uuid, order_id uuid, amount bigint, currency text, payment_method text,
                saga_started_at timestamptz, charge_key text, refund_key text, gateway text)
    ORDER BY order_id
    ON CONFLICT (order_id) DO NOTHING
    RETURNING order_id
"""
# Null keeps the present value. A decision ends the wait for it; a change of amounts alone is none.
UPDATE = """
    UPDATE payments_payment AS payment
    SET status = new.status,
        charge_id = COALESCE(new.charge_id, payment.charge_id),
        captured_amount = COALESCE(new.captured_amount, payment.captured_amount),
        refunded_amount = COALESCE(new.refunded_amount, payment.refunded_amount),
        owed_amount = COALESCE(new.owed_amount, payment.owed_amount),
        disputed_amount = COALESCE(new.disputed_amount, payment.disputed_amount),
        dispute_status = COALESCE(new.dispute_status, payment.dispute_status),
        decline_code = COALESCE(new.decline_code, payment.decline_code),
        refund_reference = COALESCE(new.refund_reference, payment.refund_reference),
        authorization_expires_at =
            COALESCE(new.authorization_expires_at, payment.authorization_expires_at),
        expected_at = CASE WHEN payment.status = new.status THEN payment.expected_at END,
        updated_at = clock_timestamp()
    FROM jsonb_to_recordset(%(rows)s::jsonb)
        AS new (order_id uuid, status text, charge_id text, captured_amount bigint,
                refunded_amount bigint, owed_amount bigint, disputed_amount bigint,
                dispute_status text, decline_code text, refund_reference text,
                authorization_expires_at timestamptz)
    WHERE payment.order_id = new.order_id
"""


class IllegalTransition(Exception):
    """A payment in a final status was to change.

    The order's rows in payments_inbox and the gateway's ledger show what happened.
    """


class NewPayment(msgspec.Struct, frozen=True):
    """The fields of a payment to open. `saga_started_at` is when its order was placed."""

    order_id: UUID
    amount: int
    currency: str
    payment_method: str
    saga_started_at: datetime

    @property
    def charge_key(self) -> str:
        """The idempotency key of the order's charge."""
        return f"charge-{self.order_id}"

    @property
    def refund_key(self) -> str:
        """The idempotency key of the order's refund."""
        return f"refund-{self.order_id}"


class PaymentUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """The new status of an order's payment, with the details from the gateway's answer.

    None keeps the present value. Amounts are in minor units, and have the meanings of the columns.
    """

    order_id: UUID
    status: Payment.Status
    charge_id: str | None = None
    captured_amount: int | None = None
    refunded_amount: int | None = None
    owed_amount: int | None = None
    disputed_amount: int | None = None
    dispute_status: str | None = None
    decline_code: str | None = None
    authorization_expires_at: datetime | None = None
    refund_reference: str | None = None


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
    """Write the updates of locked payments. An update to the present status changes only amounts.

    Raise IllegalTransition for a change that `TRANSITIONS` does not have.
    """
    changes = [update for update in updates if _is_change(payments[update.order_id], update)]
    if changes:
        sql.run("payments", UPDATE, {"rows": to_json(changes)})


def _is_change(payment: Payment, update: PaymentUpdate) -> bool:
    before, after = payment.status, update.status
    if {before, after} == NEVER_CAPTURED:
        return False
    if before == after:
        return any(
            (new := getattr(update, name)) is not None and new != getattr(payment, name)
            for name in AMOUNTS
        )

    is_owed = after == Status.CAPTURED and update.owed_amount and before in OWED_FROM
    if after not in TRANSITIONS.get(Status(before), ()) and not is_owed:
        amount = with_currency(payment.amount, payment.currency)
        raise IllegalTransition(
            f"The payment of order {payment.order_id} ({amount}) is {before} and cannot become "
            f"{after}. Compare the order's rows in payments_inbox with the ledger of gateway "
            f"{payment.gateway or settings.PAYMENT_GATEWAY}."
        )
    return True
