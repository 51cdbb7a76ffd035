"""Reads from the annotation of a handler which context it takes, and whether of one saga or many.

def charge(delivery: Delivery[Charge]) -> Charged: ...
def reserve(batch: Batch[Lines]) -> list[Outcome]: ...
class Pay(ExternalStep[Payment, Request, Answer]): ...
"""

from collections.abc import Callable
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from sagas.definition.results import misplaced_marks

__all__ = ["Signature", "Takes", "resolve"]


class Signature(NamedTuple):
    """The struct of the context, and whether the handler takes a batch; None if not annotated."""

    accepts: type[msgspec.Struct] | None = None
    batch: bool | None = None


class Takes(NamedTuple):
    """The struct of the context that a handler takes, and whether it takes a batch."""

    accepts: type[msgspec.Struct]
    batch: bool


def resolve(step: str, handler: Any, given: Signature, *, delivery: type, external: type) -> Takes:
    """Return the context and the kind of a handler: as given, else by its annotation.

    `delivery` and `external` are the generic classes of deliveries and of external steps. Raises
    TypeError if one of the two is not known, or if a field has a `From` in place of its type.
    """
    if isinstance(handler, type):
        found = _read_class(handler, external)
    else:
        found = _read_function(handler, delivery)
    accepts = given.accepts or found.accepts
    batch = found.batch if given.batch is None else given.batch

    if accepts is None or batch is None:
        raise TypeError(
            f"The handler of the step {step!r} has no annotation of its context. Annotate its "
            "parameter as Delivery[…] or Batch[…] with the struct of the context, or pass "
            "accepts= and batch= where it is registered."
        )
    for field in misplaced_marks(accepts):
        raise TypeError(
            f"The step {step!r} does not say which type its field {field!r} has. Annotate the "
            f"field in {accepts.__name__} as Annotated[…, From(…)], with its type in front."
        )
    return Takes(accepts, batch)


def _read_function(handler: Callable[..., Any], delivery: type) -> Signature:
    annotation = _first_annotation(handler)
    if _origin(annotation) is delivery:
        return Signature(_struct(annotation), batch=False)

    for item in get_args(annotation):
        if _origin(item) is delivery:
            return Signature(_struct(item), batch=True)
    return Signature()


def _read_class(handler: type, external: type) -> Signature:
    """Return the context that a class derived from the generic class names first."""
    for cls in handler.__mro__:
        for generic in getattr(cls, "__orig_bases__", ()):
            origin = get_origin(generic)
            if isinstance(origin, type) and issubclass(origin, external):
                return Signature(_struct(generic), batch=True)
    return Signature(batch=True)


def _first_annotation(handler: Callable[..., Any]) -> Any:
    try:
        hints = get_type_hints(handler)
    except (NameError, TypeError):  # a name that only the type checker imports; no function
        return None
    return next((hint for name, hint in hints.items() if name != "return"), None)


def _origin(annotation: Any) -> Any:
    """Return the class of `Delivery[X]`, and of a bare `Delivery`."""
    return get_origin(annotation) or annotation


def _struct(annotation: Any) -> type[msgspec.Struct] | None:
    first = next(iter(get_args(annotation)), None)
    is_struct = isinstance(first, type) and issubclass(first, msgspec.Struct)
    return first if is_struct else None
