"""All there is to know of one order, gathered from the three services: a few statements for
each, by index.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from django.apps import apps
from django.db.models import Model
from django_celery_results.models import TaskResult

from console.failures.tracebacks import tasks_about
from console.order_page.diagram import Picture, StepRow, picture_of
from console.partial_reader import Asking
from inventory.models import Reservation
from orders.models import Order, TimelineEvent
from orders.selectors import timeline_of
from payments.models import Payment
from sagas.definition.plan import Plan
from sagas.models import Inbox, Outbox
from sagas.storage.registry import Service, get_service

__all__ = ["Dossier", "Posted", "dossier_of"]

# Failed tasks of an order that are shown, the latest first.
TASKS = 3


@dataclass(frozen=True, kw_only=True)
class Posted:
    """A message as its row has it: what a service sent, or was asked to do."""

    service: str
    row: Any


@dataclass(frozen=True, kw_only=True)
class Dossier:
    """One order in all its services. `unreachable` names the services whose database did not
    answer.
    """

    order: Order
    plan: Plan
    picture: Picture
    timeline: list[TimelineEvent]
    payment: Payment | None
    reservations: list[Reservation]
    sent: list[Posted]
    received: list[Posted]
    failed: list[TaskResult]
    unreachable: list[str]

    @property
    def errors(self) -> list[Posted]:
        """The steps that failed or refused, the last one first; what was merely barred did
        neither.
        """
        failed = [posted for posted in self.received if posted.row.error and posted.row.attempts]
        return sorted(failed, key=lambda posted: posted.row.updated_at, reverse=True)


def dossier_of(order: Order) -> Dossier:
    """Gather an order's dossier; a database that is away leaves a gap that is named, and no
    error.
    """
    plan = msgspec.convert(order.plan, Plan)
    gathering = _Gathering(order.id)
    services = sorted(plan.services())
    sent = [posted for name in services for posted in gathering.messages(name, Outbox)]
    received = [posted for name in services for posted in gathering.messages(name, Inbox)]
    return Dossier(
        order=order,
        plan=plan,
        picture=picture_of(plan, _rows(received), ended=order.ended_at is not None),
        timeline=list(timeline_of(order.id)),
        payment=next(iter(gathering.of("payments", Payment, {"order_id": order.id})), None),
        reservations=gathering.of("inventory", Reservation, {"order_id": order.id}),
        sent=sorted(sent, key=lambda posted: posted.row.created_at),
        received=sorted(received, key=lambda posted: posted.row.created_at),
        failed=gathering.ask("orders", lambda: tasks_about(order.id, most=TASKS)),
        unreachable=sorted(gathering.unreachable),
    )


class _Gathering(Asking):
    def __init__(self, saga: UUID) -> None:
        super().__init__()
        self.saga = saga

    def messages(self, service: str, table: type[Model]) -> list[Posted]:
        rows = self.of(service, _table(service, table), {"saga": self.saga})
        return [Posted(service=service, row=row) for row in rows]

    def of(self, service: str, model: Any, wanted: Mapping[str, Any]) -> list[Any]:
        return self.ask(service, lambda: model.objects.filter(**wanted))


def _table(service: str, base: type[Model]) -> type[Model]:
    owner: Service = get_service(service)
    return next(
        model for model in apps.get_app_config(owner.name).get_models() if issubclass(model, base)
    )


def _rows(received: Iterable[Posted]) -> list[StepRow]:
    return [
        StepRow(
            step=posted.row.step,
            state=posted.row.state,
            attempts=posted.row.attempts,
            error=posted.row.error,
            send_at=posted.row.send_at,
            created_at=posted.row.created_at,
            updated_at=posted.row.updated_at,
        )
        for posted in received
    ]
