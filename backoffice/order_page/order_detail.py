"""One order in all its services: its saga, its payment, its disputes and its reservations."""

from dataclasses import dataclass
from typing import Any

from backoffice.order_page.payment_facts import Fact, money_alarms, payment_facts
from backoffice.order_page.refund_facts import owed_parts, part_alarms, part_facts
from console.order_page.exported_rows import exported_row
from console.order_page.saga_detail import SagaDetail, SagaReader, ServiceRow, read_saga
from inventory.models import Reservation
from orders.models import Order
from orders.status import Status
from payments.models import Dispute, Drift, PartialRefund, Payment
from payments.open_money import CAPTURE_STEP
from payments.partial_refunds import parts_of, with_parts
from sagas.models import Inbox

__all__ = ["OrderDetail", "ServiceRow", "load_order_detail"]

# Idempotency keys for the provider, which the export leaves out.
KEYS = frozenset({"charge_key", "refund_key"})

OPEN_STATES = {Inbox.State.STARTED, Inbox.State.WAITING, Inbox.State.HELD}


@dataclass(frozen=True, kw_only=True)
class OrderDetail(SagaDetail):
    """One order in all its services.

    `discrepancies` are the open ones: an operator's closing of one is in the log.
    """

    payment: Payment | None
    disputes: list[Dispute]
    discrepancies: list[Drift]
    reservations: list[Reservation]

    @property
    def order(self) -> Order:
        """Return the order itself."""
        order: Order = self.row
        return order

    @property
    def partial_refunds(self) -> list[PartialRefund]:
        """Return the refunds of parts of the payment, the oldest first."""
        return parts_of(self.payment)

    @property
    def payment_facts(self) -> list[Fact]:
        """Return the facts about the payment; none without a payment."""
        if self.payment is None:
            return []
        captures = [message.row for message in self.received if message.row.step == CAPTURE_STEP]
        is_open = any(row.state in OPEN_STATES and row.attempts > 0 for row in captures)
        facts = payment_facts(self.payment, capture_is_open=is_open)
        return [*facts, *part_facts(self.partial_refunds)]

    @property
    def is_followed_up(self) -> bool:
        """Tell whether the gateway is asked about the payment again, also after the end."""
        payment = self.payment
        return payment is not None and bool(payment.follow_at or payment.balance_due_at)

    @property
    def is_owed(self) -> bool:
        """Tell whether money is owed to the customer, although the order has ended."""
        is_owed = self.payment is not None and self.payment.owed_amount > 0
        return is_owed or bool(owed_parts(self.partial_refunds))

    @property
    def is_free(self) -> bool:
        """Tell whether the order costs nothing, so that its plan has no step of payments."""
        return self.order.amount == 0 and "payments" not in self.plan.services()

    @property
    def payment_is_missing(self) -> bool:
        """Tell whether payments has lost its row of an order that it has worked on."""
        if self.payment or "payments" in self.unreachable:
            return False
        worked = self.order.status in {Status.PAID, Status.RESERVED, Status.FULFILLED}
        charged = worked and not self.is_free
        return charged or any(event.service == "payments" for event in self.timeline)

    @property
    def alarms(self) -> list[str]:
        """Return the sentences that a person must look at, those about money first."""
        return [
            *money_alarms(self.payment, self.disputes, self.discrepancies),
            *part_alarms(self.payment, self.partial_refunds),
            *super().alarms,
        ]

    def exported_saga(self) -> dict[str, Any]:
        """Return the order with its customer and its lines."""
        order = self.order
        lines = [exported_row(line, without={"id", "order"}) for line in order.placed_lines]
        row = exported_row(order, without={"plan"})
        return {"order": {**row, "user": order.user.get_username(), "lines": lines}}

    def exported_services(self) -> dict[str, Any]:
        """Return the rows of payments and inventory, besides those of an unreachable service."""
        found: dict[str, Any] = {}
        if "payments" not in self.unreachable:
            payment = exported_row(self.payment, without=KEYS) if self.payment else None
            found |= {
                "payment": payment,
                "disputes": [exported_row(dispute) for dispute in self.disputes],
                "discrepancies": [exported_row(each) for each in self.discrepancies],
            }
        if "inventory" not in self.unreachable:
            found["reservations"] = [exported_row(each) for each in self.reservations]
        return found


def load_order_detail(order: Order) -> OrderDetail:
    """Read an order from all its services. A database that does not answer is no error."""
    reader = SagaReader(order.id)
    saga = read_saga(order, reader)
    of_order = with_parts(Payment.objects.filter(order_id=order.id))
    payments: list[Payment] = reader.read("payments", lambda: of_order)
    disputes = reader.rows("payments", Dispute, {"order_id": order.id})
    discrepancies = reader.rows("payments", Drift, {"order_id": order.id, "closed_at": None})
    reservations = reader.rows("inventory", Reservation, {"order_id": order.id})
    return OrderDetail(
        **saga,
        payment=next(iter(payments), None),
        disputes=sorted(disputes, key=lambda dispute: dispute.opened_at),
        discrepancies=discrepancies,
        reservations=reservations,
        unreachable=sorted(reader.unreachable),
    )
