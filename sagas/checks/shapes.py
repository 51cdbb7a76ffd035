"""The shapes of structs: each field with its JSON kinds, and whether a reader requires it.

A nested field has a path, such as `lines[].sku`.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

from sagas.checks.contexts import JSON_KINDS

__all__ = ["Field", "Shape", "shape_of"]


class Field(msgspec.Struct, frozen=True):
    """A field: its JSON kinds, and whether a message without it cannot be read.

    No kind: the field may be anything.
    """

    kinds: tuple[str, ...]
    required: bool = False


Shape = dict[str, Field]


def shape_of(struct: type[msgspec.Struct]) -> Shape:
    """Return the fields of a struct by path."""
    return dict(sorted(_fields(inspect.type_info(struct), "", frozenset(), required=True)))


def _fields(
    type_: Any, above: str, seen: frozenset[Any], *, required: bool
) -> Iterator[tuple[str, Field]]:
    """Yield the fields of a struct. A field is required only if all above it are."""
    if not isinstance(type_, inspect.StructType) or type_.cls in seen:
        return
    for field in type_.fields:
        path = f"{above}{field.encode_name}"
        is_required = required and field.required
        members = _members(field.type)
        yield path, Field(tuple(sorted(_kinds(members))), is_required)
        for member in members:
            nested, suffix = _nested(member)
            inside = is_required and len(members) == 1
            yield from _fields(nested, f"{path}{suffix}.", seen | {type_.cls}, required=inside)


def _nested(type_: Any) -> tuple[Any, str]:
    """Return the struct inside a type, with the suffix of its path."""
    item = getattr(type_, "item_type", None)
    return (type_, "") if item is None else (_plain(item), "[]")


def _members(type_: Any) -> tuple[Any, ...]:
    plain = _plain(type_)
    types = plain.types if isinstance(plain, inspect.UnionType) else (plain,)
    return tuple(map(_plain, types))


def _kinds(members: tuple[Any, ...]) -> set[str]:
    found = {_kind(member) for member in members}
    return set() if "" in found else found


def _kind(type_: Any) -> str:
    return next((kind for kind, types in JSON_KINDS if isinstance(type_, types)), "")


def _plain(type_: Any) -> Any:
    while isinstance(type_, inspect.Metadata):
        type_ = type_.type
    return type_
