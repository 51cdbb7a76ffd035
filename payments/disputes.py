"""The disputes of payments, as the gateway reports them, and the notices for their orders."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

from payments.events import PaymentDisputed
from payments.gateways.base import ChargeBalance, Dispute, DisputeStatus
from payments.models import Dispute as DisputeRow
from payments.models import Payment
from sagas import sql
from sagas.lifecycle import publish_notice

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
    """Tell the timelines of the orders. Retention has purged the timelines of old orders: those
    orders get no notice, but the payment has the dispute.
    """
    for payment, dispute in changed:
        event = PaymentDisputed(
            payment_id=payment.id,
            dispute_id=dispute.id,
            status=dispute.status,
            amount=dispute.amount,
            currency=payment.currency,
        )
        publish_notice("payments", payment.order_id, event)
