"""Parse request parameters strictly: form-encoded, nested with brackets."""

import re
from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qsl

from tools.stripe_sandbox.errors import ApiError, missing

__all__ = ["Form", "decode"]

NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
INDEX = re.compile(r"[0-9]{1,4}")
INTEGER = re.compile(r"-?[0-9]{1,18}")
MAX_DEPTH = 8
MAX_PARAMETERS = 1000

# Stripe's limits for metadata.
MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE = 50, 40, 500


def decode(encoded: str) -> dict[str, Any]:
    """Parse text such as `a[b][c]=1&d[0]=2&e[]=3` into nested dictionaries.

    A list becomes a dictionary whose keys are numbers.
    """
    try:
        pairs = parse_qsl(
            encoded, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except (UnicodeDecodeError, ValueError):
        raise ApiError(
            f"The parameters are not form-encoded UTF-8, or more than {MAX_PARAMETERS}."
        ) from None

    tree: dict[str, Any] = {}
    for name, value in pairs:
        _place(tree, _path(name), value)

    return tree


def _path(name: str) -> list[str]:
    found = NAME.fullmatch(name)
    path = [found[1], *re.findall(r"\[([^\[\]]*)\]", found[2])] if found else []
    if not 1 <= len(path) <= MAX_DEPTH:
        raise ApiError(
            "A parameter's name is malformed. Send a name, then keys in brackets.", param=name
        )

    return path


def _place(tree: dict[str, Any], path: list[str], value: str) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key or str(len(tree)), {})
        if not isinstance(tree, dict):
            raise ApiError("A parameter is both a value and a collection.", param=path[0])

    tree[path[-1] or str(len(tree))] = value


class Form:
    """The parameters of a request. Each method reads one type, and raises the error of Stripe."""

    def __init__(self, values: dict[str, Any], *, parent: str = "") -> None:
        """Read decoded parameters; `parent` is the parameter that contains them."""
        self.values = values
        self.parent = parent

    def allow_only(self, *names: str) -> None:
        """Raise ApiError for a parameter with another name. `expand` is always allowed."""
        for name in self.values:
            if name not in {*names, "expand"}:
                param = self._full(name)
                raise ApiError(
                    f"Received unknown parameter: {param}", code="parameter_unknown", param=param
                )

    def has(self, name: str) -> bool:
        """Return whether a parameter is present."""
        return name in self.values

    def text(self, name: str) -> str | None:
        """Return a text, or None if it is absent. An empty text is an error."""
        value = self.values.get(name)
        if value == "":
            raise ApiError(
                f"You passed an empty string for '{self._full(name)}', which cannot be unset.",
                code="parameter_invalid_empty",
                param=self._full(name),
            )

        if value is not None and not isinstance(value, str):
            raise self._invalid(name, "Invalid string")

        return value

    def required(self, name: str) -> str:
        """Return a required text."""
        value = self.text(name)
        if value is None:
            raise missing(self._full(name))
        return value

    def integer(self, name: str, *, least: int = 0) -> int | None:
        """Return a whole number of at least `least`, or None if it is absent."""
        value = self.text(name)
        if value is None:
            return None

        if not INTEGER.fullmatch(value) or int(value) < least:
            raise ApiError(
                f"Invalid integer for {self._full(name)}: {value!r}. It must be {least} or more.",
                code="parameter_invalid_integer",
                param=self._full(name),
            )

        return int(value)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean."""
        value = self.text(name)
        if value not in {None, "true", "false"}:
            raise self._invalid(name, "Invalid boolean")
        return default if value is None else value == "true"

    def choice(self, name: str, options: Collection[str], default: str | None = None) -> str | None:
        """Return one of `options`, or the default if it is absent."""
        value = self.text(name)
        if value is not None and value not in options:
            raise self._invalid(name, f"Must be one of {', '.join(sorted(options))}")
        return default if value is None else value

    def texts(self, name: str) -> list[str]:
        """Return a list of texts; empty if it is absent."""
        value = self.values.get(name, {})
        if not isinstance(value, dict) or not all(INDEX.fullmatch(key) for key in value):
            raise self._invalid(name, "Invalid array")

        items = [value[key] for key in sorted(value, key=int)]
        if not all(isinstance(item, str) for item in items):
            raise self._invalid(name, "Invalid array")

        return items

    def inner(self, name: str) -> "Form | None":
        """Return the parameters inside another parameter."""
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._invalid(name, "Invalid object")

        return Form(value, parent=self._full(name))

    def metadata(self) -> dict[str, str]:
        """Return the metadata. A key with an empty value is not added."""
        if self.values.get("metadata") == "":
            return {}

        inner = self.inner("metadata")
        values = inner.values if inner else {}
        if len(values) > MAX_METADATA:
            raise self._invalid("metadata", f"You can specify up to {MAX_METADATA} keys")

        for key, value in values.items():
            if (
                not isinstance(value, str)
                or len(value) > MAX_METADATA_VALUE
                or len(key) > MAX_METADATA_KEY
            ):
                raise self._invalid(
                    f"metadata[{key}]",
                    f"Metadata keys have up to {MAX_METADATA_KEY} characters, values up to "
                    f"{MAX_METADATA_VALUE}",
                )

        return {key: value for key, value in values.items() if value}

    def _full(self, name: str) -> str:
        return f"{self.parent}[{name}]" if self.parent else name

    def _invalid(self, name: str, problem: str) -> ApiError:
        return ApiError(f"{problem}: {self._full(name)}.", param=self._full(name))
