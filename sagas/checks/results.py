"""Check that each result that a step reads is returned by an earlier step, with these fields."""

from collections.abc import Iterator
from typing import NamedTuple

from django.core.checks import CheckMessage
from msgspec import inspect

from sagas.checks.contexts import Type, compare, fields, plain
from sagas.checks.findings import Finding
from sagas.definition import handlers
from sagas.definition.handlers import StepDefinition
from sagas.definition.plan import Direction, Plan, Saga
from sagas.definition.results import RESULTS, reads_of

__all__ = ["check_results"]


class _Reader(NamedTuple):
    """A step, a field of it that has a result, and the step that shall return the result."""

    step: str
    field: str
    type: Type
    source: str

    def __str__(self) -> str:
        return f"{self.step!r} reads {self.field!r} from {self.source!r}"


def check_results(saga: Saga) -> list[CheckMessage]:
    """Return the results that the steps of a saga read, but cannot have."""
    plans = [saga.plan_without(absent) for absent in saga.absences()]
    findings = [
        *_reserved(saga),
        *(each for reader in _readers(saga.plan) for each in _findings(plans, reader)),
    ]
    return [finding.error(f"Saga {saga.name!r}: ") for finding in findings]


def _reserved(saga: Saga) -> Iterator[Finding]:
    """Yield a fault if the starting event has the field in which results travel."""
    definitions = map(handlers.definition, saga.plan.names())
    is_used = any(each and (each.returns or reads_of(each.accepts)) for each in definitions)
    if is_used and saga.started_by and RESULTS in fields(saga.started_by):
        yield Finding(
            "sagas.E087",
            f"its starting event {saga.started_by.__name__} has a field {RESULTS!r}.",
            "Rename the field: the results of the steps travel under this name.",
        )


def _readers(plan: Plan) -> Iterator[_Reader]:
    for step in plan.names():
        definition = handlers.definition(step)
        if definition is None:
            continue  # sagas.E007
        types = fields(definition.accepts)
        for read in reads_of(definition.accepts):
            yield _Reader(step, read.field, types[read.field], read.step)


def _findings(plans: list[Plan], reader: _Reader) -> Iterator[Finding]:
    source = handlers.definition(reader.source)
    if source is None:
        yield Finding(
            "sagas.E082",
            f"{reader}, but no step is registered under this name.",
            "Correct the name in From(…).",
        )
        return

    yield from _order(plans, reader)
    if source.returns is None:
        yield Finding(
            "sagas.E084",
            f"{reader}, but that step returns nothing to later steps.",
            "Only a wait that expires with a Refusal returns its answer. Do not read this one."
            if source.wait
            else f"Pass returns= with its event where {reader.source!r} is registered.",
        )
    else:
        yield from _types(source, reader)


def _order(plans: list[Plan], reader: _Reader) -> Iterator[Finding]:
    complete, *_ = plans
    goes_back = complete.direction(reader.step) is Direction.BACK
    actions = {step.name for step in complete.actions}
    if reader.source in actions and not goes_back:
        before = complete.comes_before(reader.source, reader.step)
        if not before or reader.source == reader.step:
            yield Finding(
                "sagas.E083",
                f"{reader}, but that step does not come before it.",
                "Read the result in a step behind it, or change the order of the steps.",
            )
            return

    if _may_be_missing(plans, reader, goes_back=goes_back) and not _is_optional(reader.type):
        yield Finding(
            "sagas.E086",
            f"{reader}, which may be missing.",
            "Annotate the field as Annotated[… | None, From(…)]. An undo may run for an action "
            "that was not done. A condition, another saga or a skip may leave a step out.",
        )


def _may_be_missing(plans: list[Plan], reader: _Reader, *, goes_back: bool) -> bool:
    """Return whether the reader runs in a saga whose messages may lack the result."""
    with_reader = [plan for plan in plans if reader.step in plan.names()]
    return goes_back or any(
        reader.source not in plan.names() or plan.skippable(reader.source) for plan in with_reader
    )


def _types(source: StepDefinition, reader: _Reader) -> Iterator[Finding]:
    event = source.returns.__name__ if source.returns else ""
    wanted = _without_none(reader.type)
    for path, sent_kind, wanted_kind in compare(
        inspect.type_info(source.returns), wanted, reader.field
    ):
        fault = f"returns it as {sent_kind}" if sent_kind else "returns no such field"
        yield Finding(
            "sagas.E085",
            f"{reader.step!r} reads {path!r} as {wanted_kind or 'a value'}, but "
            f"{reader.source!r} {fault}.",
            f"Use the fields and types of {event}.",
        )


def _is_optional(type_: Type) -> bool:
    found = plain(type_)
    return isinstance(found, inspect.UnionType) and found.includes_none


def _without_none(type_: Type) -> Type:
    """Return the type of a result that is there."""
    found = plain(type_)
    if not isinstance(found, inspect.UnionType):
        return found
    kept = tuple(each for each in found.types if not isinstance(plain(each), inspect.NoneType))
    return plain(kept[0]) if len(kept) == 1 else inspect.UnionType(kept)
