"""Rebuilds the single rows that services share: watermarks and holds. Corrects the sequences."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.apps import apps
from django.db import connections, models, router, transaction

from audit.databases import fetch
from recovery.journal import HOME, all_services
from recovery.writes import Plan, Write
from sagas import sql
from sagas.definition.hold_scope import HoldScope
from sagas.definition.messages import to_json
from sagas.definition.plan import service_name
from sagas.storage.registry import Service, get_service

__all__ = ["plan_tables"]

WATERMARK = "watermark copied"
HOLD = "hold copied"
SEQUENCE = "sequence moved behind its table"

MARKS = "SELECT home, before, kept FROM {watermark}"
SET_MARK = """
INSERT INTO {watermark} (id, home, before, kept)
SELECT CASE %(home)s WHEN '' THEN 1 ELSE GREATEST(max(id), 1) + 1 END,
       %(home)s, %(before)s, %(kept)s::uuid[]
  FROM {watermark}
ON CONFLICT (home) DO UPDATE SET before = EXCLUDED.before, kept = EXCLUDED.kept
"""

HOLDS = """
SELECT saga, step, calling_step, destination, since, by, why FROM {hold} WHERE NOT automatic
"""
ADD_HOLDS = """
INSERT INTO {hold} (saga, step, calling_step, destination, since, by, why)
SELECT r.saga, r.step, r.calling_step, r.destination, r.since, r.by, r.why
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r(saga uuid, step text, calling_step text, destination text, since timestamptz, by text,
         why text)
ON CONFLICT DO NOTHING
"""

SEQUENCES = """
SELECT pg_get_serial_sequence(%(table)s, %(column)s),
       (SELECT max({column}) FROM {table})
"""
LAST_VALUE = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}"


class Mark(msgspec.Struct, frozen=True):
    """A watermark to set in a service, for the sagas of a home."""

    service: str
    home: str
    before: datetime
    kept: list[UUID]


class HoldRow(msgspec.Struct, frozen=True):
    """A hold to add in a service: on a saga, on a step, or on a destination of a step."""

    service: str
    saga: UUID | None
    step: str | None
    calling_step: str | None
    destination: str
    since: datetime
    by: str
    why: str


class SequenceValue(msgspec.Struct, frozen=True):
    """The value that a sequence of a database must have reached."""

    alias: str
    sequence: str
    value: int


def plan_tables(services: Sequence[str]) -> Plan:
    """Plan the watermarks, the holds and the sequences of the services in one database."""
    plan = Plan()
    for service in map(get_service, services):
        _plan_watermark(plan, service)
        _plan_holds(plan, service)
    _plan_sequences(plan, get_service(services[0]).alias)
    return plan


def _plan_watermark(plan: Plan, restored: Service) -> None:
    """Plan the latest watermark of any service, for each home."""
    latest: dict[str, Mark] = {}
    present: dict[str, datetime] = {}
    for service in all_services():
        for home, before, kept in fetch(service.alias, MARKS.format(watermark=service.watermark)):
            if home not in latest or latest[home].before < before:
                latest[home] = Mark(restored.name, home, before, kept)
            if service.name == restored.name:
                present[home] = before

    for home, mark in sorted(latest.items()):
        if home not in present or present[home] < mark.before:
            plan.writes.append(
                Write(
                    kind=WATERMARK,
                    subject=restored.watermark,
                    detail=str(mark.before),
                    apply=_mark,
                    row=mark,
                )
            )


def _plan_holds(plan: Plan, restored: Service) -> None:
    """Plan the holds that other services still have. A hold on a step has a copy at the home."""
    present = {tuple(subject) for *subject, _, _, _ in _holds(restored)}
    for service in all_services():
        for saga, step, calling_step, destination, since, by, why in _holds(service):
            scope = HoldScope(step or calling_step or "", destination)
            belongs = saga or restored.name in (HOME, service_name(scope.step))
            subject = (saga, step, calling_step, destination)
            if belongs and subject not in present:
                present.add(subject)
                plan.writes.append(
                    Write(
                        kind=HOLD,
                        subject=str(saga or scope),
                        detail=f"in {restored.name}, by {by}: {why}",
                        apply=_add_holds,
                        row=HoldRow(restored.name, *subject, since, by, why),
                    )
                )


def _plan_sequences(plan: Plan, alias: str) -> None:
    for model in apps.get_models():
        key = model._meta.pk
        is_here = router.db_for_write(model) == alias and model._meta.managed
        if is_here and isinstance(key, models.AutoField | models.BigAutoField):
            _plan_sequence(plan, alias, model._meta.db_table, str(key.column))


def _plan_sequence(plan: Plan, alias: str, table: str, column: str) -> None:
    statement = SEQUENCES.format(table=f'"{table}"', column=f'"{column}"')
    ((sequence, highest),) = fetch(alias, statement, {"table": table, "column": column})
    if sequence is None or highest is None:
        return
    ((value,),) = fetch(alias, LAST_VALUE.format(sequence=sequence))
    if value < highest:
        plan.writes.append(
            Write(
                kind=SEQUENCE,
                subject=sequence,
                detail=f"{value} → {highest}",
                apply=_set_sequences,
                row=SequenceValue(alias, sequence, highest),
            )
        )


def _holds(service: Service) -> list[tuple[Any, ...]]:
    return fetch(service.alias, HOLDS.format(hold=service.hold))


def _mark(rows: Sequence[Mark]) -> None:
    for row in rows:
        service = get_service(row.service)
        params = {"home": row.home, "before": row.before, "kept": row.kept}
        sql.run(service.alias, SET_MARK.format(watermark=service.watermark), params)


def _add_holds(rows: Sequence[HoldRow]) -> None:
    for name in {row.service for row in rows}:
        service = get_service(name)
        params = {"rows": to_json([row for row in rows if row.service == name])}
        sql.run(service.alias, ADD_HOLDS.format(hold=service.hold), params)


def _set_sequences(rows: Sequence[SequenceValue]) -> None:
    for row in rows:
        with transaction.atomic(using=row.alias), connections[row.alias].cursor() as cursor:
            cursor.execute("SELECT setval(%s::regclass, %s)", [row.sequence, row.value])
