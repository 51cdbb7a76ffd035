"""Tells whether a step of this release can read the context of a saga under way."""

from collections.abc import Set
from functools import cache
from typing import Any

import msgspec

from sagas.definition.handlers import StepDefinition
from sagas.definition.results import fields_for, reads_of

__all__ = ["error_of"]


def error_of(definition: StepDefinition, context: Any, pending: Set[str]) -> str:
    """Return why a step cannot read a context; empty if it can, or if the context is purged.

    The results of `pending` steps are left out, because these steps have not run yet.
    """
    if context is None:
        return ""
    reads = reads_of(definition.accepts)
    later = frozenset(read.field for read in reads if read.step in pending)
    accepts = _without(definition.accepts, later) if later else definition.accepts
    try:
        msgspec.convert(fields_for(context, reads) if reads else context, accepts, strict=True)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


@cache
def _without(accepts: type[msgspec.Struct], left_out: frozenset[str]) -> type[msgspec.Struct]:
    """Return a struct without some fields, which are named as in JSON."""
    fields = [
        (field.name, field.type, _options(field))
        for field in msgspec.structs.fields(accepts)
        if field.encode_name not in left_out
    ]
    return msgspec.defstruct(accepts.__name__, fields, kw_only=True)


def _options(field: Any) -> Any:
    defaults: dict[str, Any] = {
        "default": field.default,
        "default_factory": field.default_factory,
    }
    return msgspec.field(name=field.encode_name, **defaults)
