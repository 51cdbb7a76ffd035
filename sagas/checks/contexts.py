"""Check that the starting event of a saga has each field that a step accepts.

The fields of that event are the context of every message. A refusal or a cancel adds `failure`, so
undos, bars and the abort may read that too.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning
from msgspec import inspect

from sagas.checks.findings import Finding
from sagas.definition import handlers
from sagas.definition.plan import Direction, Saga
from sagas.definition.results import reads_of

__all__ = ["Type", "check_contexts", "compare", "fields", "plain"]

Type = inspect.Type

# How a type looks in JSON. A type that is not here may be anything.
JSON_KINDS: tuple[tuple[str, tuple[type[Type], ...]], ...] = (
    ("null", (inspect.NoneType,)),
    ("boolean", (inspect.BoolType,)),
    ("integer", (inspect.IntType,)),
    ("number", (inspect.FloatType,)),
    (
        "text",
        (
            inspect.StrType,
            inspect.BytesType,
            inspect.UUIDType,
            inspect.DateTimeType,
            inspect.DateType,
            inspect.TimeType,
            inspect.TimeDeltaType,
            inspect.DecimalType,
        ),
    ),
    (
        "list",
        (
            inspect.ListType,
            inspect.VarTupleType,
            inspect.TupleType,
            inspect.SetType,
            inspect.FrozenSetType,
            inspect.CollectionType,
        ),
    ),
    ("object", (inspect.StructType, inspect.DictType, inspect.TypedDictType)),
)


class _Failure(msgspec.Struct):
    """The reason of a compensation, as `StepAttempt.refusal_row` writes it."""

    code: str
    detail: str


def check_contexts(saga: Saga) -> list[CheckMessage]:
    """Return the fields that a step of the saga accepts, but no message has."""
    if saga.started_by is None:
        return [
            CheckWarning(
                f"Saga {saga.name!r} names no event that starts it, so the fields that its steps "
                "accept are not checked.",
                hint="Pass started_by= with that event where the saga is declared.",
                id="sagas.W013",
            )
        ]
    return [finding.error(f"Saga {saga.name!r}: ") for finding in _findings(saga)]


def _findings(saga: Saga) -> Iterator[Finding]:
    for name in saga.plan.names():
        definition = handlers.definition(name)
        if definition is None:
            continue  # sagas.E007

        results = {read.field for read in reads_of(definition.accepts)}  # checks.results
        wanted_fields = fields(definition.accepts)
        of_context = {name: wanted_fields[name] for name in wanted_fields.keys() - results}
        for path, sent, wanted in _differences(_sent(saga, name), of_context):
            yield _finding(saga, name, path, sent, wanted)


def _finding(saga: Saga, step: str, path: str, sent: str, wanted: str) -> Finding:
    event = saga.started_by.__name__ if saga.started_by else ""
    if not sent:
        return Finding(
            "sagas.E014",
            f"{step!r} accepts the field {path!r}, which its messages never have.",
            f"Correct its name, remove it, or add it to {event}. A field with a default would "
            "always have that default.",
        )
    return Finding(
        "sagas.E015",
        f"{step!r} accepts {path!r} as {wanted}, but its messages have it as {sent}.",
        f"Use the type that {event} has. With another type the step can read no message.",
    )


def _sent(saga: Saga, step: str) -> dict[str, Type]:
    assert saga.started_by  # noqa: S101  for the type checker  # nosec B101
    sent = fields(saga.started_by)
    if saga.plan.direction(step) is Direction.BACK:
        sent["failure"] = inspect.type_info(_Failure)
    return sent


def fields(struct: Any) -> dict[str, Type]:
    """Return the fields of a struct by their names in JSON."""
    info = inspect.type_info(struct)
    return _fields_of(info) if isinstance(info, inspect.StructType) else {}


def _fields_of(info: inspect.StructType) -> dict[str, Type]:
    return {field.encode_name: field.type for field in info.fields}


def _differences(
    sent: dict[str, Type], wanted: dict[str, Type], above: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Yield the path of each wrong field, and its kinds in the message and in the step.

    A field that no message has yields an empty kind.
    """
    for name, wanted_type in wanted.items():
        path = f"{above}{name}"
        if name not in sent:
            yield path, "", _kind(wanted_type)
        else:
            yield from compare(sent[name], wanted_type, path)


def compare(sent: Type, wanted: Type, path: str) -> Iterator[tuple[str, str, str]]:
    """Yield the path of each part that a reader cannot read, and its kinds as sent and as wanted.

    A field that is not sent yields an empty kind.
    """
    sent, wanted = plain(sent), plain(wanted)

    if isinstance(sent, inspect.UnionType) or isinstance(wanted, inspect.UnionType):
        sent_kinds, wanted_kinds = _kinds(sent), _kinds(wanted)
        if not all(_is_readable(kind, wanted_kinds) for kind in sent_kinds):
            yield path, " or ".join(sorted(sent_kinds)), " or ".join(sorted(wanted_kinds))
    elif not _is_readable(_kind(sent), {_kind(wanted)}):
        yield path, _kind(sent), _kind(wanted)
    elif isinstance(sent, inspect.StructType) and isinstance(wanted, inspect.StructType):
        yield from _differences(_fields_of(sent), _fields_of(wanted), f"{path}.")
    elif items := _items(sent, wanted):
        yield from compare(*items, f"{path}[]")


def _items(sent: Type, wanted: Type) -> tuple[Type, Type] | None:
    sent_item, wanted_item = (getattr(each, "item_type", None) for each in (sent, wanted))
    return (sent_item, wanted_item) if sent_item and wanted_item else None


def plain(type_: Type) -> Type:
    """Return a type without the metadata around it."""
    while isinstance(type_, inspect.Metadata):
        type_ = type_.type
    return type_


def _kinds(type_: Type) -> set[str]:
    members = type_.types if isinstance(type_, inspect.UnionType) else (type_,)
    return {_kind(plain(member)) for member in members}


def _kind(type_: Type) -> str:
    """Return the JSON kind of a type; empty if it is not known."""
    found = plain(type_)
    return next((kind for kind, types in JSON_KINDS if isinstance(found, types)), "")


def _is_readable(sent: str, wanted: set[str]) -> bool:
    """Tell whether a step reads a kind. An unknown kind counts as readable."""
    if not sent or "" in wanted or sent in wanted:
        return True
    return sent == "integer" and "number" in wanted
