"""Compare a response with the types of Stripe's client, which are generated from Stripe's
OpenAPI description.
"""

import inspect
import types
import typing
from collections.abc import Iterator
from typing import Any, ClassVar, ForwardRef, Literal, Union, get_args, get_origin

import stripe

__all__ = ["problems"]


def problems(value: Any, wanted: Any, at: str = "") -> list[str]:
    """Return where a value does not fit a type: missing, unknown or mistyped fields."""
    return list(_problems(value, wanted, at))


def _problems(value: Any, wanted: Any, at: str) -> Iterator[str]:
    wanted = _resolved(wanted)
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin in {Union, types.UnionType}:
        yield from _none_fits(value, arguments, at)
    elif origin is Literal:
        if value not in arguments:
            yield f"{at} is {value!r}, not one of {arguments}"
    elif origin in {list, typing.List}:  # noqa: UP006
        yield from _of_list(value, arguments[0], at)
    elif _is_object(origin or wanted):
        yield from _of_object(value, origin or wanted, arguments, at)
    elif wanted is not Any and type(value) is not wanted:
        yield f"{at} is {value!r}, not {wanted}"


def _none_fits(value: Any, options: tuple[Any, ...], at: str) -> Iterator[str]:
    # `Literal[…] | str` allows values of future versions, which the sandbox must not use.
    if any(get_origin(option) is Literal for option in options):
        options = tuple(option for option in options if option is not str)

    attempts = [problems(value, option, at) for option in options]
    if all(attempts):
        yield from min(attempts, key=lambda found: (type(value) is not dict) or len(found))


def _of_list(value: Any, item: Any, at: str) -> Iterator[str]:
    if type(value) is not list:
        yield f"{at} is {value!r}, no list"
        return

    for index, element in enumerate(value):
        yield from _problems(element, item, f"{at}[{index}]")


def _of_object(value: Any, cls: type, arguments: tuple[Any, ...], at: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{at} is {value!r}, no {cls.__name__}"
        return

    fields = _fields(cls)
    if not fields:  # a free dictionary, such as metadata
        for name, field in value.items():
            yield from _problems(field, arguments[0] if arguments else Any, f"{at}.{name}")

        return

    for name in value.keys() - fields.keys() - {"object", "url"}:
        yield f"{at}.{name} is unknown to {cls.__name__}"

    for name, wanted in fields.items():
        if name in value:
            yield from _problems(value[name], _filled(wanted, arguments), f"{at}.{name}")
        elif not _optional(wanted):
            yield f"{at}.{name} is missing"


def _fields(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if _is_object(base) and base is not stripe.StripeObject:
            found |= inspect.get_annotations(base)

    hidden = {
        name
        for name, wanted in found.items()
        if get_origin(wanted) is ClassVar or name.startswith("_")
    }
    return {name: found[name] for name in found.keys() - hidden}


def _filled(wanted: Any, arguments: tuple[Any, ...]) -> Any:
    """Replace the type variable of a field such as `List[T]`."""
    if arguments and any(isinstance(argument, typing.TypeVar) for argument in get_args(wanted)):
        return list[arguments[0]]  # type: ignore[valid-type]
    return wanted


def _optional(wanted: Any) -> bool:
    return get_origin(wanted) in {Union, types.UnionType} and type(None) in get_args(wanted)


class _LazyNames(dict[str, Any]):
    """The client's names. Its package imports each name on first use."""

    def __missing__(self, name: str) -> Any:
        if name in vars(typing):
            raise KeyError(name)

        # The client adds the suffix, and the prefix of a package, to names that would clash.
        name = name.removesuffix("Resource")
        if hasattr(stripe, name):
            return getattr(stripe, name)
        return getattr(stripe.issuing, name.removeprefix("Issuing"))


def _is_object(cls: Any) -> bool:
    return isinstance(cls, type) and issubclass(cls, stripe.StripeObject)


def _resolved(wanted: Any) -> Any:
    """Return the type for an annotation that is a name.

    The client imports some types for type checkers only.
    """
    name = wanted.__forward_arg__ if isinstance(wanted, ForwardRef) else wanted
    return eval(name, vars(typing), _LazyNames()) if isinstance(name, str) else wanted
