"""Results: the facts of a step's event, which later steps of the same saga read.

A step that is registered with `returns=` adds the facts of its event to the context of the saga's
messages, below the key `RESULTS`. So they travel, wait and are sent again as the context does, and
a worker of an earlier release passes them on without knowing them.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

__all__ = [
    "RESULTS",
    "Facts",
    "From",
    "Read",
    "fields_for",
    "misplaced_marks",
    "reads_of",
    "results_in",
    "with_result",
]

# The key of the results in the context.
RESULTS = "results"

Facts = Mapping[str, Any]


class From(msgspec.Struct, frozen=True):
    """Marks a field of a step's struct that has the result of another step.

        charge: Annotated[Charge, From("payments.charge")]

    The type names the fields that the step reads. It may be the event of that step or a struct of
    the reader's own. A missing result is None, if the type is `Annotated[Charge | None, …]`. An
    undo needs this type, and so does the reader of a step that not every saga has.
    """

    step: str


class Read(NamedTuple):
    """A field that has a result: its name in the context, and the step that returns it."""

    field: str
    step: str


@cache
def reads_of(accepts: type[msgspec.Struct]) -> Sequence[Read]:
    """Return the fields of a step's struct that have results."""
    annotations = get_type_hints(accepts, include_extras=True)
    return tuple(
        Read(field.encode_name, mark.step)
        for field in msgspec.structs.fields(accepts)
        for mark in _marks(annotations[field.name])
    )


def misplaced_marks(accepts: type[msgspec.Struct]) -> list[str]:
    """Return the fields that have a `From` as their type or default, where nothing reads it.

    Raises TypeError if an annotation is a text that does not name a type.
    """
    annotations = get_type_hints(accepts, include_extras=True)
    as_type = [name for name, found in annotations.items() if isinstance(found, From)]
    fields, defaults = accepts.__struct_fields__, accepts.__struct_defaults__
    with_default = fields[len(fields) - len(defaults) :]
    as_default = [
        name
        for name, default in zip(with_default, defaults, strict=True)
        if isinstance(default, From)
    ]
    return as_type + as_default


def with_result(context: Facts, step: str, facts: Facts) -> dict[str, Any]:
    """Return a context with the result of one more step."""
    return {**context, RESULTS: {**results_in(context), step: facts}}


def results_in(context: Facts) -> Mapping[str, Facts]:
    """Return the results in a context, by step."""
    found = context.get(RESULTS)
    return found if isinstance(found, dict) else {}


def fields_for(
    context: Facts, reads: Sequence[Read], own: Mapping[str, Facts] | None = None
) -> dict[str, Any]:
    """Return a context with the results in the fields that read them; None for a missing one.

    `own` are results that the reader's service knows without the message, by step.
    """
    known = {**(own or {}), **results_in(context)}
    return {**context, **{read.field: known.get(read.step) for read in reads}}


def _marks(annotation: Any) -> list[From]:
    """Return the marks of an annotation, also of a part of a union."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return [mark for mark in metadata if isinstance(mark, From)] or _marks(inner)
    return [mark for part in get_args(annotation) for mark in _marks(part)]
