"""Rebuilds the payments: the gateway knows the money, the events know the rest.

Only the log of staff knows the money that a person paid in another way.

A payment's keys follow from its order (`payments.services.NewPayment`), so the gateway finds the
charge of any order. No charge is made here: the gateway is only read (`balance`).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction
from django.db.models.functions import Now

from payments.disputes import dispute_status
from payments.gateway_requests import GatewayRouter
from payments.gateways.base import (
    Absent,
    BalanceAnswer,
    ChargeBalance,
    ChargeRequest,
    Dispute,
    DisputeStatus,
    Unanswered,
)
from payments.models import Dispute as DisputeRow
from payments.models import Payment
from payments.paid_otherwise import Record
from payments.services import NewPayment
from recovery.journal import Event, Journal, OrderRow
from recovery.paid_otherwise import paid_otherwise
from recovery.writes import Note, Plan, Write
from sagas.currencies import with_currency
from sagas.ids import uuid7
from sagas.operations.manual import BY_HAND

__all__ = ["plan_payments"]

Status = Payment.Status

REBUILT = "payment rebuilt"
OPENED = "pending payment opened"
CHANGED = "payment brought up to date"
UNANSWERED = "gateway did not answer"
UNKNOWN_MONEY = "money that no row explains"
LOST_REFERENCE = "marked as done by hand; its reference was lost"
LOST_MONEY = "recorded money that the gateway does not know"

# The last of these events decides. `payment.refunded` of 0 is an undo that found no money.
STATUS_AFTER: Mapping[str, Status] = {
    "payment.authorized": Status.AUTHORIZED,
    "payment.processed": Status.CAPTURED,
    "payment.failed": Status.DECLINED,
    "payment.refunded": Status.REFUNDED,
    "payment.voided": Status.REFUNDED,
    "payment.barred": Status.VOID,
}

# Balances that one gateway object reads. It has the time of a step, whichever the number.
AT_ONCE = 50

MONEY_TAKEN = {Status.CAPTURED, Status.REFUNDED}


class PaymentRow(msgspec.Struct, kw_only=True):
    """The columns of a payment that are written. Amounts are in minor units of `currency`."""

    id: UUID
    order_id: UUID
    status: Status
    amount: int
    currency: str
    payment_method: str
    gateway: str
    started_at: datetime
    charge_id: str | None = None
    captured_amount: int | None = None
    refunded_amount: int = 0
    owed_amount: int = 0
    decline_code: str = ""
    refund_reference: str = ""
    paid_otherwise_amount: int = 0
    authorization_expires_at: str | None = None
    disputes: tuple[Dispute, ...] = ()
    exists: bool = False


def plan_payments(journals: Sequence[Journal], rebuilt: set[UUID], gateways: Sequence[str]) -> Plan:
    """Plan the payments of a page of orders.

    `rebuilt`: the orders of which an event of payments was lost. Their payments may be behind.
    `gateways`: the names of the gateways to ask, in this order. A free order has no payment.
    """
    plan = Plan()
    payments = {
        payment.order_id: payment
        for payment in Payment.objects.filter(order_id__in=[journal.saga for journal in journals])
    }
    records = paid_otherwise([journal.saga for journal in journals])
    behind = {
        saga
        for saga, record in records.items()
        if saga in payments and payments[saga].paid_otherwise_amount < record.amount
    }
    orders = {
        journal.saga: (journal, journal.order)
        for journal in journals
        if journal.order
        and journal.order.amount > 0
        and (journal.saga in rebuilt | behind or journal.saga not in payments)
    }
    balances = _Balances(gateways)
    # Which gateway an open order is charged at is not known if there are several.
    asks_all = len(gateways) > 1
    balances.ask([pair for pair in orders.values() if asks_all or _may_have_money(pair[0])])

    for saga, (journal, order) in orders.items():
        row = _row(journal, order, payments.get(saga), balances.of(saga)[0], records.get(saga))
        _plan_payment(plan, journal, order, payments.get(saga), row, balances)
    return plan


class _Balances:
    """The balances of a page of orders, each with the name of the gateway that has it."""

    def __init__(self, gateways: Sequence[str]) -> None:
        self.gateways = gateways
        self.answers: dict[UUID, tuple[str, BalanceAnswer]] = {}

    def ask(self, orders: Sequence[tuple[Journal, OrderRow]]) -> None:
        """Read the balances, at the next gateway where the one before knows nothing."""
        for name in self.gateways:
            unknown = [pair for pair in orders if not self._is_known(pair[0].saga)]
            requests = [_request(journal, order, name) for journal, order in unknown]
            for start in range(0, len(requests), AT_ONCE):
                self._send(name, requests[start : start + AT_ONCE])

    def _send(self, name: str, requests: Sequence[ChargeRequest]) -> None:
        answers = GatewayRouter().send(lambda gateway: gateway.balance, requests)
        for request in requests:
            self.answers[request.order_id] = (name, answers[request.key])

    def of(self, saga: UUID) -> tuple[str, BalanceAnswer]:
        """Return the gateway and the balance of an order; absent if it was not asked for."""
        return self.answers.get(saga, (self.gateways[0], Absent()))

    def _is_known(self, saga: UUID) -> bool:
        answer = self.answers.get(saga)
        return answer is not None and not isinstance(answer[1], Absent)


def _plan_payment(
    plan: Plan,
    journal: Journal,
    order: OrderRow,
    payment: Payment | None,
    row: PaymentRow,
    balances: _Balances,
) -> None:
    gateway, balance = balances.of(order.id)
    money = with_currency(order.amount, order.currency)
    if isinstance(balance, Unanswered):
        detail = f"{money} at {gateway}: {balance.reason} Run the command again."
        plan.notes.append(_note(UNANSWERED, order, detail))
        return

    if isinstance(balance, ChargeBalance):
        _apply_balance(plan, row, order, balance)
    elif row.status in MONEY_TAKEN:
        if row.status is Status.REFUNDED and not _last_amount(journal):
            row.status = Status.VOID
        else:
            detail = f"{money}: the events say {row.status}, but {gateway} knows no capture"
            plan.notes.append(_note(LOST_MONEY, order, detail))
            return

    if payment is None or _differs(payment, row):
        plan.writes.append(_write(row, payment))


def _may_have_money(journal: Journal) -> bool:
    """Return whether the gateway must be read: the order has ended, or payments reported on it.

    The charge step of any other order looks its key up itself, before it charges.
    """
    return journal.ended or bool(journal.changes("payments"))


def _request(journal: Journal, order: OrderRow, gateway: str) -> ChargeRequest:
    new = NewPayment(
        order_id=order.id,
        amount=order.amount,
        currency=order.currency,
        payment_method=order.payment_method,
        saga_started_at=order.created_at,
    )
    return ChargeRequest(
        new.charge_key,
        new.order_id,
        new.amount,
        new.currency,
        new.payment_method,
        opened_at=order.created_at,
        gateway=gateway,
        charge_id=_reported(journal, "charge_id") or "",
    )


def _row(
    journal: Journal,
    order: OrderRow,
    payment: Payment | None,
    gateway: str,
    record: Record | None,
) -> PaymentRow:
    """Return the payment as the events and the log of staff report it."""
    status, expires_at = _status(journal), _reported(journal, "expires_at")
    if status is Status.AUTHORIZED and not expires_at:
        status = Status.PENDING  # the capture looks the authorization up
    reported_id = _reported(journal, "payment_id")
    return PaymentRow(
        id=payment.id if payment else UUID(reported_id) if reported_id else uuid7(),
        order_id=order.id,
        status=status,
        amount=order.amount,
        currency=order.currency,
        payment_method=order.payment_method,
        gateway=payment.gateway if payment else gateway,
        started_at=order.created_at,
        decline_code=(_reported(journal, "decline_code") or "") if status == "declined" else "",
        refund_reference=record.reference if record else _reference(journal, payment),
        paid_otherwise_amount=record.amount if record else 0,
        authorization_expires_at=expires_at,
        exists=payment is not None,
    )


def _reference(journal: Journal, payment: Payment | None) -> str:
    """Return the reference of a refund that a person has marked as done. Its id may be lost."""
    if payment and payment.refund_reference:
        return payment.refund_reference
    return LOST_REFERENCE if _reported(journal, BY_HAND) else ""


def _status(journal: Journal) -> Status:
    known = [event for event in journal.changes("payments") if event.type in STATUS_AFTER]
    if not known:
        return Status.VOID if journal.ended else Status.PENDING

    # An undo that runs after a refusal changes no declined payment.
    last = known[-1]
    refused = next((event for event in known if event.type == "payment.failed"), None)
    if refused and STATUS_AFTER[last.type] in {Status.REFUNDED, Status.VOID} and not _amount(last):
        last = refused
    if last.type == "payment.failed" and _is_voided(last):
        return Status.VOID
    return STATUS_AFTER[last.type]


def _is_voided(event: Event) -> bool:
    """Return whether a charge failed because it was voided, not because the gateway declined it."""
    return "payment_action_expired" in event.data.values() or "voided" in event.data.values()


def _apply_balance(plan: Plan, row: PaymentRow, order: OrderRow, balance: ChargeBalance) -> None:
    """Take the money from the gateway's balance."""
    if row.status in {Status.PENDING, Status.AUTHORIZED}:
        return  # the step runs again, finds the capture and reports it

    # A refund on its way may still fail, so its amount is owed until then.
    given_back = balance.refunded + balance.disputed + row.paid_otherwise_amount
    row.charge_id = balance.charge_id
    row.captured_amount = balance.captured
    row.refunded_amount = balance.refunded
    row.disputes = balance.disputes
    if order.status == "fulfilled" or (row.status is Status.CAPTURED and not order.ended_at):
        row.status = Status.CAPTURED
        return

    if row.refund_reference and row.status is Status.REFUNDED:
        if given_back < balance.captured:
            money = with_currency(balance.captured - given_back, order.currency)
            detail = f"{money} kept, but a person marked the refund as done. Ask that person."
            plan.notes.append(Note(kind=UNKNOWN_MONEY, subject=str(order.id), detail=detail))
        return

    row.status = Status.REFUNDED if given_back >= balance.captured else Status.CAPTURED
    if row.status is Status.CAPTURED and order.ended_at:
        row.owed_amount = balance.captured - given_back
        detail = f"{with_currency(row.owed_amount, order.currency)} kept of a cancelled order"
        plan.notes.append(
            Note(kind=UNKNOWN_MONEY, subject=str(order.id), detail=f"{detail}. It is given back.")
        )


def _differs(payment: Payment, row: PaymentRow) -> bool:
    return any(
        getattr(payment, name) != getattr(row, name)
        for name in (
            *("status", "charge_id", "refunded_amount", "owed_amount"),
            "paid_otherwise_amount",
        )
    )


def _write(row: PaymentRow, payment: Payment | None) -> Write:
    kind = CHANGED if payment else OPENED if row.status is Status.PENDING else REBUILT
    before = f" (was {payment.status})" if payment else ""
    taken = f", charge {row.charge_id}" if row.charge_id else ""
    refunded = with_currency(row.refunded_amount, row.currency)
    back = f", {refunded} refunded" if row.refunded_amount else ""
    paid = with_currency(row.paid_otherwise_amount, row.currency)
    otherwise = (
        f", {paid} paid in another way: {row.refund_reference}" if row.paid_otherwise_amount else ""
    )
    money = with_currency(row.amount, row.currency)
    return Write(
        kind=kind,
        subject=str(row.order_id),
        detail=f"{money}, {row.status}{before}{taken}{back}{otherwise}, at {row.gateway}",
        apply=_apply,
        row=row,
    )


def _apply(rows: Sequence[PaymentRow]) -> None:
    with transaction.atomic(using="payments"):
        Payment.objects.bulk_create([_model(row) for row in rows if not row.exists])
        for row in rows:
            if row.exists:
                Payment.objects.filter(order_id=row.order_id).update(
                    **_columns(row), updated_at=Now()
                )
        disputes = [_dispute(row, dispute) for row in rows for dispute in row.disputes]
        DisputeRow.objects.bulk_create(
            disputes,
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["amount", "status", "reason", "respond_by"],
        )


def _model(row: PaymentRow) -> Payment:
    new = NewPayment(
        order_id=row.order_id,
        amount=row.amount,
        currency=row.currency,
        payment_method=row.payment_method,
        saga_started_at=row.started_at,
    )
    return Payment(
        id=row.id,
        order_id=row.order_id,
        amount=row.amount,
        currency=row.currency,
        payment_method=row.payment_method,
        charge_key=new.charge_key,
        refund_key=new.refund_key,
        gateway=row.gateway,
        created_at=row.started_at,
        **_columns(row),
    )


def _columns(row: PaymentRow) -> dict[str, Any]:
    """Return the columns that follow from the events and the balance."""
    status = dispute_status(row.disputes)
    withdrawn = sum(each.amount for each in row.disputes if each.status != DisputeStatus.WON)
    columns: dict[str, Any] = {
        "status": row.status,
        "charge_id": row.charge_id,
        "captured_amount": row.captured_amount,
        "refunded_amount": row.refunded_amount,
        "owed_amount": row.owed_amount,
        "disputed_amount": withdrawn,
        "dispute_status": status,
        "decline_code": row.decline_code,
        "refund_reference": row.refund_reference,
        "paid_otherwise_amount": row.paid_otherwise_amount,
        "authorization_expires_at": row.authorization_expires_at,
        "saga_started_at": row.started_at,
    }
    # No refund may follow, even if an older row has scheduled one.
    if row.paid_otherwise_amount and not row.owed_amount:
        columns |= {"follow_at": None, "follow_error": "", "balance_due_at": Now()}
    # The follow-up gives back the rest of an order that has ended, and watches open disputes.
    if row.owed_amount or (status == "open" and row.status is Status.REFUNDED):
        return columns | {"follow_at": Now()}
    return columns | ({"balance_due_at": Now()} if status == "open" else {})


def _dispute(row: PaymentRow, dispute: Dispute) -> DisputeRow:
    return DisputeRow(
        id=dispute.id,
        order_id=row.order_id,
        charge_id=row.charge_id or "",
        amount=dispute.amount,
        currency=row.currency,
        status=dispute.status,
        reason=dispute.reason,
        opened_at=dispute.opened_at,
        respond_by=dispute.respond_by,
    )


def _reported(journal: Journal, name: str) -> str | None:
    """Return a field of the events of payments, from the last event that has it."""
    values = (event.data.get(name) for event in reversed(journal.changes("payments")))
    return next((str(value) for value in values if value), None)


def _amount(event: Event) -> int:
    return int(event.data.get("amount", 0))


def _last_amount(journal: Journal) -> int:
    return _amount(journal.changes("payments")[-1])


def _note(kind: str, order: OrderRow, detail: str) -> Note:
    return Note(kind=kind, subject=str(order.id), detail=detail, blocking=True)
