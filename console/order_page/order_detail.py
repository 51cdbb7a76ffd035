"""One order in all services: its rows, its timeline, its diagram and its failed tasks.

A few statements to each service, all by index.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from django.apps import apps
from django.db.models import Model
from django_celery_results.models import TaskResult

from audit.models import Finding
from console.failures.tracebacks import tasks_about
from console.order_page.diagram import Diagram, StepRow, build_diagram
from console.order_page.event_words import gave_nothing_back
from console.order_page.payment_facts import Fact, money_alarms, payment_facts
from console.partial_reader import PartialReader
from inventory.models import Reservation
from orders.models import Order, TimelineEvent
from orders.selectors import timeline_of
from orders.status import Status
from payments.models import Dispute, Drift, Payment
from payments.open_money import CAPTURE_STEP
from sagas.definition.plan import Plan
from sagas.models import Inbox, Outbox
from sagas.storage.registry import Service, get_service

__all__ = ["OrderDetail", "ServiceRow", "load_order_detail"]

OPEN_STATES = {Inbox.State.STARTED, Inbox.State.WAITING, Inbox.State.HELD}

# Failed tasks of an order that the page shows, newest first.
TASKS = 3


@dataclass(frozen=True, kw_only=True)
class ServiceRow:
    """An outbox or inbox row, and the service that has it."""

    service: str
    row: Any


@dataclass(frozen=True, kw_only=True)
class OrderDetail:
    """One order in all its services. `unreachable` names the services that did not answer.

    `discrepancies` are the open ones: an operator's closing of one is in the log.
    """

    order: Order
    plan: Plan
    diagram: Diagram
    timeline: list[TimelineEvent]
    payment: Payment | None
    disputes: list[Dispute]
    discrepancies: list[Drift]
    findings: list[Finding]
    reservations: list[Reservation]
    sent: list[ServiceRow]
    received: list[ServiceRow]
    failed_tasks: list[TaskResult]
    unreachable: list[str]

    @property
    def errors(self) -> list[ServiceRow]:
        """Return the steps that failed or refused, the latest first. Barred steps never ran."""
        failed = [
            message
            for message in self.received
            if message.row.error and message.row.attempts and not never_failed(message.row)
        ]
        return sorted(failed, key=lambda message: message.row.updated_at, reverse=True)

    @property
    def agreed_waits(self) -> list[ServiceRow]:
        """Return the steps that wait for a person or another system, as agreed."""
        return [message for message in self.received if waits_as_agreed(message.row)]

    @property
    def payment_facts(self) -> list[Fact]:
        """Return the facts about the payment; none without a payment."""
        if self.payment is None:
            return []
        captures = [message.row for message in self.received if message.row.step == CAPTURE_STEP]
        is_open = any(row.state in OPEN_STATES and row.attempts > 0 for row in captures)
        return payment_facts(self.payment, capture_is_open=is_open)

    @property
    def is_followed_up(self) -> bool:
        """Tell whether the gateway is asked about the payment again, also after the end."""
        payment = self.payment
        return payment is not None and bool(payment.follow_at or payment.balance_due_at)

    @property
    def payment_is_missing(self) -> bool:
        """Tell whether payments has lost its row of an order that it has worked on."""
        if self.payment or "payments" in self.unreachable:
            return False
        charged = self.order.status in {Status.PAID, Status.RESERVED, Status.FULFILLED}
        return charged or any(event.service == "payments" for event in self.timeline)

    @property
    def money_alarms(self) -> list[str]:
        """Return the sentences about money that a person must look at."""
        audited = [
            f"The audit found a violation of {finding.invariant}: {finding.detail} "
            "(Amounts are in minor units.)"
            for finding in self.findings
        ]
        return [*money_alarms(self.payment, self.disputes, self.discrepancies), *audited]


def load_order_detail(order: Order) -> OrderDetail:
    """Read an order from all its services. A database that does not answer is no error."""
    plan = msgspec.convert(order.plan, Plan)
    reader = _OrderReader(order.id)
    services = sorted(plan.services())

    sent = [message for name in services for message in reader.messages(name, Outbox)]
    received = [message for name in services for message in reader.messages(name, Inbox)]
    payments = reader.rows("payments", Payment, {"order_id": order.id})
    disputes = reader.rows("payments", Dispute, {"order_id": order.id})
    discrepancies = reader.rows("payments", Drift, {"order_id": order.id, "closed_at": None})
    reservations = reader.rows("inventory", Reservation, {"order_id": order.id})
    failed_tasks = reader.read("orders", lambda: tasks_about(order.id, most=TASKS))

    timeline = list(timeline_of(order.id))

    return OrderDetail(
        order=order,
        plan=plan,
        diagram=build_diagram(
            plan,
            _step_rows(received),
            ended=order.ended_at is not None,
            gave_nothing_back=_gave_nothing_back(timeline, sent),
            unreachable=reader.unreachable,
        ),
        timeline=timeline,
        payment=next(iter(payments), None),
        disputes=sorted(disputes, key=lambda dispute: dispute.opened_at),
        discrepancies=discrepancies,
        findings=list(Finding.objects.filter(subject=str(order.id))),
        reservations=reservations,
        sent=sorted(sent, key=lambda message: message.row.created_at),
        received=sorted(received, key=lambda message: message.row.created_at),
        failed_tasks=failed_tasks,
        unreachable=sorted(reader.unreachable),
    )


def waits_as_agreed(row: Inbox) -> bool:
    """Tell whether a step waits for a person or another system, after no failed attempt."""
    return row.state == Inbox.State.WAITING and not row.attempts and row.send_at is not None


def never_failed(row: Inbox) -> bool:
    """Tell whether a step is done at its first attempt. Its error is then the reason of an agreed
    wait that is over, because such a wait resets the attempts.
    """
    return row.state == Inbox.State.DONE and row.attempts <= 1 and row.by_hand is None


class _OrderReader(PartialReader):
    def __init__(self, order: UUID) -> None:
        super().__init__()
        self.order = order

    def messages(self, service: str, table: type[Model]) -> list[ServiceRow]:
        rows = self.rows(service, _table(service, table), {"saga": self.order})
        return [ServiceRow(service=service, row=row) for row in rows]

    def rows(self, service: str, model: Any, wanted: Mapping[str, Any]) -> list[Any]:
        return self.read(service, lambda: model.objects.filter(**wanted))


def _table(service: str, base: type[Model]) -> type[Model]:
    owner: Service = get_service(service)
    return next(
        model for model in apps.get_app_config(owner.name).get_models() if issubclass(model, base)
    )


def _gave_nothing_back(timeline: Iterable[TimelineEvent], sent: Iterable[ServiceRow]) -> set[str]:
    """Return the undo steps that had nothing to undo, by the timeline and by the outboxes.

    The timeline is later than the outboxes, which retention purges.
    """
    events = [
        *((event.step, event.type, event.detail) for event in timeline),
        *((message.row.step, message.row.type, message.row.data) for message in sent),
    ]
    return {step for step, type_, detail in events if gave_nothing_back(type_, detail)}


def _step_rows(received: Iterable[ServiceRow]) -> list[StepRow]:
    return [
        StepRow(
            step=message.row.step,
            state=message.row.state,
            attempts=message.row.attempts,
            error="" if never_failed(message.row) else message.row.error,
            send_at=message.row.send_at,
            created_at=message.row.created_at,
            updated_at=message.row.updated_at,
        )
        for message in received
    ]
