"""Follow-up of payments whose money the gateway may have moved outside of the saga.

A follow-up gives back the money of an undone order that the gateway still has. It came in after
the cancel, or its refund failed later. The follow-up repeats with growing pauses until the
money is back; meanwhile the payment has an `owed_amount` and the last error. Then the follow-up
reads the balance of the charge, and records refunds and disputes that we did not make. An open
dispute is looked at every hour until it is decided.

A follow-up also asks for the parts that were given back for other sagas, such as returns. A part
whose refund has failed later is owed, until another refund is through.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from django.conf import settings
from django.db import DataError, IntegrityError, transaction
from msgspec.structs import replace

from payments.deadlines import start_deadlines
from payments.disputes import dispute_status, record_disputes
from payments.gateway_requests import GatewayRouter, RefundResult, charge_request, refund_plan
from payments.gateways.base import (
    Absent,
    BalanceAnswer,
    Captured,
    ChargeBalance,
    Declined,
    KeySpent,
    PartRefundAnswer,
    Pending,
    Unanswered,
)
from payments.models import PartialRefund, Payment
from payments.partial_refunds import record_follow_up, request_of, settled_refunds
from payments.services import (
    IllegalTransition,
    PaymentUpdate,
    lock_payments,
    payments_of,
    update_payments,
)
from payments.steps import Refund
from sagas import sql
from sagas.backoff import exponential_sql
from sagas.currencies import with_currency

__all__ = ["follow_up_once", "schedule"]

logger = logging.getLogger(__name__)

Status = Payment.Status

# The name by which a payment stores that the follow-up waits for the gateway.
NAME = "payments.follow"

# An order with such a payment was undone, so the gateway must have none of its money.
OVER = (Status.VOID, Status.DECLINED, Status.REFUNDED)

# Errors of one payment's answer. Any other error concerns the whole batch.
NOT_RECORDABLE = (IllegalTransition, IntegrityError, DataError)

CHANGED = "The payment changed during its follow-up. It is followed up again."

# Payments of each column in one batch. Refunds and balances of a batch share the time of one step.
BATCH = 25

# Seconds before the second try, and the longest pause between two tries.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 3600.0

# Seconds between two looks at an open dispute. A lost dispute moves no money, so no statement tells
# of it, and its webhook may be lost.
DISPUTE_PAUSE = 3600.0

# `follow_at` is for payments that were undone. All others have a column of their own, because the
# last release gives back each charge that is due by `follow_at`.
COLUMNS = UNDONE, KEPT = "follow_at", "balance_due_at"

# When each order was claimed, by column.
Claims: TypeAlias = Mapping[str, Mapping[UUID, datetime]]

# A payment that a person has listed as refunded is refunded again only if that refund has failed.
# The customer may have got the money in another way, which the gateway does not know. Money that is
# recorded as paid in another way is not refunded, not even after a failed refund.
ONLY_READ = """
(owed_amount = 0 AND (status = 'captured' OR paid_otherwise_amount > 0))
OR (refund_reference <> '' AND NOT %(refund_failed)s)
"""
SCHEDULE = f"""
UPDATE payments_payment
   SET follow_at = CASE WHEN {ONLY_READ} THEN follow_at ELSE clock_timestamp() END,
       balance_due_at = CASE WHEN {ONLY_READ} THEN clock_timestamp() ELSE balance_due_at END
 WHERE order_id = ANY(%(orders)s::uuid[]) AND status = ANY(%(statuses)s::text[])
   AND (%(again)s OR num_nonnulls(follow_at, balance_due_at) = 0
        OR (dispute_status = 'open' AND follow_attempts = 0))
"""  # noqa: S608  a constant

# Leases due payments to this worker. The lease is the new time in the column.
CLAIM = {
    column: sql.lease_statement(
        "payments_payment",
        due=column,
        changes=["follow_attempts = follow_attempts + 1"],
        returning=f"order_id, {column}",
    )
    for column in (UNDONE, KEPT)
}
# End the follow-up if there is no error and no open dispute, else schedule the next attempt. A
# payment whose time has changed since the claim stays due, because a webhook has asked for another
# query.
NEXT_PAUSE = exponential_sql("payment.follow_attempts", first="%(first)s", longest="%(longest)s")
RECORD = {
    column: f"""
UPDATE payments_payment AS payment
   SET follow_error = v.error,
       follow_attempts = CASE WHEN v.error = '' THEN 0 ELSE payment.follow_attempts END,
       {column} = CASE WHEN v.error <> '' THEN {sql.seconds_from_now(NEXT_PAUSE)}
                       WHEN payment.dispute_status = 'open'
                       THEN {sql.seconds_from_now("%(dispute_pause)s")} END
  FROM unnest(%(orders)s::uuid[], %(claimed)s::timestamptz[], %(errors)s::text[])
       AS v(order_id, claimed, error)
 WHERE payment.order_id = v.order_id AND payment.{column} = v.claimed
"""  # noqa: S608  constants
    for column in (UNDONE, KEPT)
}


class Finding(NamedTuple):
    """The gateway's answers about a payment: its refund, if it was undone, its balance, and the
    parts that were given back.
    """

    payment: Payment
    refund: RefundResult | None
    balance: BalanceAnswer
    parts: Sequence[tuple[PartialRefund, PartRefundAnswer]] = ()

    @property
    def error(self) -> str:
        """The reason to follow up again; empty if there is none."""
        if isinstance(self.balance, Unanswered):
            return self.balance.reason
        answers = (self.refund.charge, self.refund.refund) if self.refund else ()
        parts = [answer for _, answer in self.parts]
        for answer in (*answers, *parts):
            match answer:
                case Unanswered(reason=reason) | Pending(reason=reason) | KeySpent(reason=reason):
                    return reason
        for answer in (self.refund and self.refund.refund, *parts):
            if isinstance(answer, Declined):
                return f"The gateway declined to refund: {answer.code}. {answer.detail}"
        return self._owed_error()

    @property
    def owed(self) -> int:
        """The amount that an undone order has to give back, in minor units."""
        if self.refund is None or not isinstance(self.balance, ChargeBalance):
            return 0
        balance = self.balance
        return max(0, balance.captured - balance.refunded - balance.disputed)

    def _owed_error(self) -> str:
        if not self.owed:
            return ""
        owed = with_currency(self.owed, self.payment.currency)
        return f"{owed} is not back with the customer yet."


def schedule(
    orders: Collection[UUID],
    statuses: Collection[str],
    *,
    again: bool = False,
    refund_failed: bool = False,
) -> int:
    """Have the payments of orders followed up now, if they have one of the statuses; return how
    many have.

    `again`: a follow-up that is scheduled or under way already is brought forward, or repeated.
    `refund_failed`: the gateway has told that a refund failed.
    """
    params = {
        "orders": list(orders),
        "statuses": list(statuses),
        "again": again,
        "refund_failed": refund_failed,
    }
    return sql.run("payments", SCHEDULE, params)


def follow_up_once() -> int:
    """Follow up the payments that are due, batch by batch; return how many there were.

    The answers of one gateway come within the lease. No batch starts later than the lease before
    the time limit of a task. With one silent gateway, the work ends within that limit.
    """
    until = time.monotonic() + settings.CELERY_TASK_SOFT_TIME_LIMIT - settings.SAGA_LEASE_SECONDS
    total = 0
    while claims := {column: claimed for column in COLUMNS if (claimed := _claim(column))}:
        _follow_up(claims)
        total += len(set().union(*claims.values()))
        is_last = all(len(claimed) < BATCH for claimed in claims.values())
        if is_last or time.monotonic() > until:
            break
    return total


def _claim(column: str) -> dict[UUID, datetime]:
    params = {"lease": settings.SAGA_LEASE_SECONDS, "limit": BATCH}
    return dict(sql.fetch("payments", CLAIM[column], params))


def _follow_up(claims: Claims) -> None:
    """Ask each gateway for its payments, and record its answers before the next one is asked.

    A gateway that does not answer takes most of the lease. So the gateways whose payments have been
    tried least often come first.
    """
    orders = set().union(*claims.values())
    by_gateway: dict[str, list[Payment]] = defaultdict(list)
    for _, payment in sorted(payments_of(orders).items()):
        by_gateway[payment.gateway].append(payment)

    first_error: Exception | None = None
    for payments in sorted(by_gateway.values(), key=_fewest_attempts):
        own = {each.order_id for each in payments}
        own_claims = {
            column: {order: at for order, at in claimed.items() if order in own}
            for column, claimed in claims.items()
        }
        try:
            _record_all(_ask_gateway(payments, own_claims.get(UNDONE, {})), own_claims)
        except Exception as error:  # the other gateways are asked before it is raised
            first_error = first_error or error
    if first_error:
        raise first_error


def _fewest_attempts(payments: Sequence[Payment]) -> int:
    return min(payment.follow_attempts for payment in payments)


def _record_all(findings: Sequence[Finding], claims: Claims) -> None:
    """Record the findings of a gateway together; if that fails, one by one."""
    try:
        _record(findings, claims)
    except NOT_RECORDABLE as error:
        logger.warning(
            "A follow-up of %d payments is recorded one by one: %r", len(findings), error
        )
        for finding in findings:
            _record_alone(finding, claims)


def _record_alone(finding: Finding, claims: Claims) -> None:
    """Record one finding; if that fails, only its error, so that the others are not followed up
    again.
    """
    try:
        _record([finding], claims)
    except NOT_RECORDABLE as error:
        order = finding.payment.order_id
        logger.exception("The follow-up of order %s could not be recorded", order)
        reason = f"The gateway's answer cannot be recorded: {str(error).partition(chr(10))[0]}"
        _record([Finding(finding.payment, None, Unanswered(reason))], claims)


def _ask_gateway(payments: Sequence[Payment], to_undo: Collection[UUID]) -> list[Finding]:
    """Ask the gateway of these payments. If that raises, the payments of the others go on."""
    try:
        return _ask(payments, to_undo)
    except Exception as error:  # a gateway by dotted path may raise any
        logger.exception("Gateway %r raised during a follow-up", payments[0].gateway)
        failed = Unanswered(f"The gateway raised {error!r}. It may have acted before.")
        return [Finding(payment, None, failed) for payment in payments]


def _ask(payments: Sequence[Payment], to_undo: Collection[UUID]) -> list[Finding]:
    """Refund the parts and the payments that were undone, then read the balances of all known
    charges.
    """
    undone = [payment for payment in payments if _was_undone(payment, to_undo)]
    router = GatewayRouter()
    parts = _ask_for_parts(router, payments)
    results = Refund().undo(router, [refund_plan(payment) for payment in undone])
    refunds = dict(zip((payment.order_id for payment in undone), results, strict=True))

    requests = [
        replace(charge_request(payment), charge_id=charge_id)
        for payment in payments
        if (charge_id := _charge_id(payment, refunds.get(payment.order_id)))
    ]
    balances = router.send(lambda gateway: gateway.balance, requests)
    return [
        Finding(
            payment,
            refunds.get(payment.order_id),
            balances.get(payment.charge_key, Absent()),
            parts.get(payment.order_id, ()),
        )
        for payment in payments
    ]


def _ask_for_parts(
    router: GatewayRouter, payments: Sequence[Payment]
) -> dict[UUID, list[tuple[PartialRefund, PartRefundAnswer]]]:
    """Ask for the parts that were given back. The gateway gives back a failed part once more."""
    by_order = {payment.order_id: payment for payment in payments}
    settled = settled_refunds(payments)
    requests = [request_of(refund, by_order[refund.order_id]) for refund in settled]
    answers = router.send(lambda gateway: gateway.refund_part, requests)

    parts: dict[UUID, list[tuple[PartialRefund, PartRefundAnswer]]] = defaultdict(list)
    for refund in settled:
        parts[refund.order_id].append((refund, answers[refund.key]))
    return parts


def _was_undone(payment: Payment, to_undo: Collection[UUID]) -> bool:
    only_read = payment.refund_reference and payment.order_id not in to_undo
    return payment.owed_amount > 0 or (payment.status in OVER and not only_read)


def _charge_id(payment: Payment, result: RefundResult | None) -> str:
    """Return the id of the charge; empty if nothing was captured."""
    if result and isinstance(result.charge, Captured):
        return result.charge.charge_id
    return payment.charge_id or ""


def _record(findings: Sequence[Finding], claims: Claims) -> None:
    with transaction.atomic(using="payments"):
        locked = lock_payments([finding.payment.order_id for finding in findings])
        unchanged = {
            finding.payment.order_id: finding
            for finding in findings
            if _state(locked[finding.payment.order_id]) == _state(finding.payment)
            and _is_current(locked[finding.payment.order_id], claims)
        }
        updates = [_update(finding) for finding in unchanged.values()]
        update_payments(locked, [update for update in updates if update])
        balances = {
            order: finding.balance
            for order, finding in unchanged.items()
            if isinstance(finding.balance, ChargeBalance)
        }
        record_disputes(locked, balances)
        parts = [part for finding in unchanged.values() for part in finding.parts]
        record_follow_up(
            [refund for refund, _ in parts], {each.id: answer for each, answer in parts}
        )
        undecided = {
            order: finding.refund.undecided
            for order, finding in unchanged.items()
            if finding.refund
        }
        start_deadlines(NAME, undecided)

        errors = {
            order: unchanged[order].error if order in unchanged else CHANGED for order in locked
        }
        for column, claimed in claims.items():
            _record_errors(column, claimed, errors)


def _record_errors(
    column: str, claimed: Mapping[UUID, datetime], errors: Mapping[UUID, str]
) -> None:
    orders = [order for order in claimed if order in errors]
    params = {
        "orders": orders,
        "claimed": [claimed[order] for order in orders],
        "errors": [errors[order] for order in orders],
        "first": FIRST_PAUSE,
        "longest": LONGEST_PAUSE,
        "dispute_pause": DISPUTE_PAUSE,
    }
    sql.run("payments", RECORD[column], params)


def _is_current(payment: Payment, claims: Claims) -> bool:
    """Tell whether no event has asked for a newer query since the claim. Its answer counts."""
    return all(
        getattr(payment, column) == claimed.get(payment.order_id, getattr(payment, column))
        for column, claimed in claims.items()
    )


def _state(payment: Payment) -> tuple[str, int, int]:
    return payment.status, payment.owed_amount, payment.refunded_amount


def _update(finding: Finding) -> PaymentUpdate | None:
    """Return the payment's update from the balance; None without a balance."""
    balance = finding.balance
    if not isinstance(balance, ChargeBalance):
        return None

    status = Status(finding.payment.status)
    if finding.refund:
        status = Status.CAPTURED if finding.owed else Status.REFUNDED
    return PaymentUpdate(
        order_id=finding.payment.order_id,
        status=status,
        charge_id=balance.charge_id,
        captured_amount=balance.captured,
        refunded_amount=balance.refunded,
        owed_amount=finding.owed,
        disputed_amount=balance.disputed,
        dispute_status=dispute_status(balance.disputes),
    )
