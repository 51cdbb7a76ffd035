"""The disputes of payments, as the gateway reports them, and the notices for their orders."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from payments.events import PaymentDisputed
from payments.gateways.base import ChargeBalance, Dispute, DisputeStatus
from payments.models import Dispute as DisputeRow
from payments.models import Payment
from sagas.definition.messages import OutboxRow
from sagas.definition.plan import Plan
from sagas.storage import outbox, sql
from sagas.storage.registry import get_service

__all__ = ["dispute_status", "record_disputes"]

STORE = """
INSERT INTO payments_dispute AS dispute
       (id, order_id, charge_id, amount, currency, status, reason, opened_at, respond_by)
SELECT * FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS new (id text, order_id uuid, charge_id text, amount bigint, currency text, status text,
            reason text, opened_at timestamptz, respond_by timestamptz)
 ORDER BY id
ON CONFLICT (id) DO UPDATE
   SET amount = EXCLUDED.amount, status = EXCLUDED.status, reason = EXCLUDED.reason,
       respond_by = EXCLUDED.respond_by, updated_at = clock_timestamp()
"""

# The newest outbox row of a saga carries its plan and context. Retention has purged the rows of old
# sagas, and their timelines: those orders get no notice, but the payment has the dispute.
NEWEST = """
SELECT DISTINCT ON (saga) saga, saga_started_at, seq, step, plan::text, context::text
  FROM payments_outbox WHERE saga = ANY(%(sagas)s::uuid[]) ORDER BY saga, id DESC
"""


def dispute_status(disputes: Iterable[Dispute]) -> str:
    """Return `open` if any dispute is open, else `lost` if any is lost, else `won`, else empty."""
    found = {dispute.status for dispute in disputes}
    ordered = (DisputeStatus.OPEN, DisputeStatus.LOST, DisputeStatus.WON)
    return next((status.value for status in ordered if status in found), "")


def record_disputes(
    payments: Mapping[UUID, Payment], balances: Mapping[UUID, ChargeBalance]
) -> None:
    """Store the disputes of these balances. A new status is told to the order's timeline.

    The caller has locked the payments.
    """
    disputes = {
        dispute.id: (payments[order], balance, dispute)
        for order, balance in balances.items()
        for dispute in balance.disputes
    }
    if not disputes:
        return

    stored = dict(DisputeRow.objects.filter(id__in=disputes).values_list("id", "status"))
    rows = [
        {
            **msgspec.structs.asdict(dispute),
            "order_id": payment.order_id,
            "charge_id": balance.charge_id,
            "currency": payment.currency,
        }
        for payment, balance, dispute in disputes.values()
    ]
    sql.run("payments", STORE, {"rows": sql.json_rows(rows)})
    _notify(
        [
            (payment, dispute)
            for payment, _, dispute in disputes.values()
            if stored.get(dispute.id) != dispute.status
        ]
    )


def _notify(changed: Sequence[tuple[Payment, Dispute]]) -> None:
    sagas = [payment.order_id for payment, _ in changed]
    newest = {saga: row for saga, *row in sql.fetch("payments", NEWEST, {"sagas": sagas})}
    for payment, dispute in changed:
        if payment.order_id in newest:
            row = _notice(payment, dispute, newest[payment.order_id])
            outbox.write(get_service("payments"), row.plan, [row], leased=False)


def _notice(payment: Payment, dispute: Dispute, newest: Sequence[Any]) -> OutboxRow:
    started_at, seq, step, plan, context = newest
    event = PaymentDisputed(
        payment_id=payment.id,
        dispute_id=dispute.id,
        status=dispute.status,
        amount=dispute.amount,
        currency=payment.currency,
    )
    return OutboxRow(
        saga=payment.order_id,
        started_at=started_at,
        seq=seq,
        type=event.type,
        step=step,
        step_attempt=1,
        data=event.facts(),
        context=msgspec.json.decode(context),
        plan=msgspec.json.decode(plan, type=Plan),
        target=None,
        headers={},
    )
