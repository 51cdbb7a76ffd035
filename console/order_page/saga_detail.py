"""One saga in all its services: its rows, its timeline, its diagram and its failed tasks.

A few statements to each service, all by index.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from django.apps import apps
from django.db.models import Model
from django.utils.safestring import SafeString
from django_celery_results.models import TaskResult

from console.failures.tracebacks import StepError, tasks_about
from console.order_page.concerns import Concern, concern_sources
from console.order_page.diagram import Diagram, StepRow, build_diagram
from console.order_page.event_words import gave_nothing_back
from console.order_page.exported_rows import exported_row
from console.own_service import own_service
from console.partial_reader import PartialReader
from console.saga_pages import find_kinds, saga_link
from sagas.definition.plan import Plan
from sagas.kinds import SagaKind, kind_of
from sagas.models import Inbox, Outbox, TimelineEvent, TrackedSaga
from sagas.operations.saga_links import ChildLink, children_of, parent_of
from sagas.storage.registry import Service, get_home, get_service

__all__ = ["SagaDetail", "SagaReader", "ServiceRow", "load_saga_detail", "read_saga", "table_model"]

# Failed tasks of a saga that the page shows, newest first.
TASKS = 3


@dataclass(frozen=True, kw_only=True)
class ServiceRow:
    """An outbox or inbox row, and the service that has it."""

    service: str
    row: Any


@dataclass(frozen=True, kw_only=True)
class Relative:
    """The parent of a saga, or a child: its role, the link to its page, and how it stands."""

    role: str
    id: UUID
    link: SafeString
    words: str
    needs_attention: bool = False


@dataclass(frozen=True, kw_only=True)
class SagaDetail:
    """One saga in all its services. `unreachable` names the services that did not answer."""

    row: Any
    plan: Plan
    diagram: Diagram
    timeline: list[TimelineEvent]
    concerns: dict[str, list[Concern]]
    sent: list[ServiceRow]
    received: list[ServiceRow]
    failed_tasks: list[TaskResult]
    unreachable: list[str]
    relatives: list[Relative]

    @property
    def kind(self) -> SagaKind:
        """Return what the domain knows of the saga."""
        return kind_of(type(self.row))

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
    def alarms(self) -> list[str]:
        """Return the sentences that a person must look at."""
        return [
            *(
                f"The child saga {child.id} needs attention: {child.words}."
                for child in self.relatives
                if child.needs_attention
            ),
            *(each.sentence for concerns in self.concerns.values() for each in concerns),
        ]

    def exported_saga(self) -> dict[str, Any]:
        """Return the tracked row for the export, with its kind and its facts."""
        facts = {fact.label: fact.value for fact in self.kind.facts(self.row)}
        status = self.kind.status(self.row)
        return {
            "kind": self.kind.name,
            "saga": {**exported_row(self.row, without={"plan"}), "status": status},
            "facts": facts,
        }

    def exported_services(self) -> dict[str, Any]:
        """Return the rows of the services for the export, if a domain knows any."""
        return {}


class SagaReader(PartialReader):
    """Reads the rows of one saga."""

    def __init__(self, saga: UUID) -> None:
        super().__init__()
        self.saga = saga

    def messages(self, service: str, table: type[Model]) -> list[ServiceRow]:
        """Return the rows of the saga in an outbox or inbox."""
        rows = self.rows(service, table_model(service, table), {"saga": self.saga})
        return [ServiceRow(service=service, row=row) for row in rows]

    def rows(self, service: str, model: Any, wanted: Mapping[str, Any]) -> list[Any]:
        """Return the rows of a model that match; none where the service does not answer."""
        return self.read(service, lambda: model.objects.filter(**wanted))


def load_saga_detail(row: TrackedSaga) -> SagaDetail:
    """Read a saga from all its services. A database that does not answer is no error."""
    reader = SagaReader(row.pk)
    return SagaDetail(**read_saga(row, reader), unreachable=sorted(reader.unreachable))


def read_saga(row: TrackedSaga, reader: SagaReader) -> dict[str, Any]:
    """Return the fields of a `SagaDetail` that any saga has, except `unreachable`."""
    plan = msgspec.convert(row.plan, Plan)
    services = sorted(plan.services())

    sent = [message for name in services for message in reader.messages(name, Outbox)]
    received = [message for name in services for message in reader.messages(name, Inbox)]
    errors = [StepError(each.row.step, each.row.error) for each in received if each.row.error]
    failed_tasks = reader.read(own_service(), lambda: tasks_about(row.pk, errors, most=TASKS))
    timeline = list(get_home(plan.home).timeline._default_manager.filter(saga=row.pk))

    return {
        "row": row,
        "plan": plan,
        "diagram": build_diagram(
            plan,
            _step_rows(received),
            ended=row.ended_at is not None,
            gave_nothing_back=_gave_nothing_back(timeline, sent),
            unreachable=reader.unreachable,
        ),
        "timeline": timeline,
        "concerns": {
            name: reader.read(source.service, partial(source.read, row.pk))
            for name, source in concern_sources().items()
        },
        "sent": sorted(sent, key=lambda message: message.row.created_at),
        "received": sorted(received, key=lambda message: message.row.created_at),
        "failed_tasks": failed_tasks,
        "relatives": _relatives(row, plan, reader),
    }


def waits_as_agreed(row: Inbox) -> bool:
    """Tell whether a step waits for a person or another system, after no failed attempt."""
    return row.state == Inbox.State.WAITING and not row.attempts and row.send_at is not None


def never_failed(row: Inbox) -> bool:
    """Tell whether a step is done at its first attempt. Its error is then the reason of an agreed
    wait that is over, because such a wait resets the attempts.
    """
    return row.state == Inbox.State.DONE and row.attempts <= 1 and row.by_hand is None


def table_model(service: str, base: type[Model]) -> type[Model]:
    """Return the model of a service that derives one of the engine's models."""
    owner: Service = get_service(service)
    return next(
        model for model in apps.get_app_config(owner.name).get_models() if issubclass(model, base)
    )


def _relatives(row: TrackedSaga, plan: Plan, reader: SagaReader) -> list[Relative]:
    """Return the parent of a saga and its children, as far as their homes answer."""
    parent = parent_of(row)
    children = [
        child
        for name in sorted(plan.services())
        for child in reader.read(name, partial(_children, row, plan, name))
    ]
    ids = [*(child.id for child in children), *([parent.id] if parent else [])]
    kinds = find_kinds(ids, reader) if ids else {}
    return [
        *(
            Relative(
                role="Parent",
                id=each.id,
                link=saga_link(each.id, kinds.get(each.id)),
                words=each.step,
            )
            for each in ([parent] if parent else [])
        ),
        *(
            Relative(
                role="Child",
                id=child.id,
                needs_attention=child.needs_attention,
                link=saga_link(child.id, kinds.get(child.id)),
                words=f"{child.step}, {child.state}",
            )
            for child in children
        ),
    ]


def _children(row: TrackedSaga, plan: Plan, service: str) -> list[ChildLink]:
    return list(children_of(row.pk, plan, service=service))


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
    """Return the rows for the diagram. A wait that only has an early answer is not reached yet."""
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
        if not message.row.is_answered_early
    ]
