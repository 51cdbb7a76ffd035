"""Steps of a generated sequence: requests that take values from earlier answers.

Hypothesis draws requests and numbers, never values of answers. Ids, cursors and times differ
between runs, and Hypothesis must be able to repeat a sequence.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import schemathesis
from hypothesis import strategies
from schemathesis import GenerationMode
from schemathesis.core.transport import Response

from tests.fuzz.described import SAMPLED

__all__ = ["STEPS", "Seen", "Step"]

# One request in ten is invalid: a rejected request must not affect later requests.
MODES = [GenerationMode.POSITIVE] * 9 + [GenerationMode.NEGATIVE]

# The most values of its kind that a place goes back; 0 keeps the generated value.
FARTHEST = 5

# The kind of a value: the noun of the API, and the name of the value there.
Kind = tuple[str, str]


class Step(NamedTuple):
    """A request, how far to go back for each of its values, and how often to send it."""

    case: schemathesis.Case
    back: list[int]
    times: int


class Seen:
    """The values seen so far that later requests may use: ids, SKUs, cursors, ETags, keys."""

    def __init__(self) -> None:
        self._values: defaultdict[Kind, list[str]] = defaultdict(list)

    def fill(self, step: Step) -> schemathesis.Case:
        """Return a step's request with seen values. A request that must be invalid is unchanged."""
        case = step.case
        if case.meta is None or not case.meta.generation.mode.is_positive:
            return case
        for (container, name, kind), back in zip(_places(case.operation), step.back, strict=True):
            values = self._values[kind]
            if back and values:
                getattr(case, container)[name] = values[-1 - (back - 1) % len(values)]
        return case

    def note(self, case: schemathesis.Case, response: Response) -> None:
        """Remember the values of an answer, and the idempotency key of its request."""
        if "Idempotency-Key" in case.headers:
            self._add("", "Idempotency-Key", case.headers["Idempotency-Key"])
        for tag in response.headers.get("etag", []):
            self._add("", "If-None-Match", tag)
        if response.headers.get("content-type") == ["application/json"]:
            self._note_body(_noun(case.path), response.json())

    def _note_body(self, noun: str, body: Mapping[str, Any]) -> None:
        for item in body.get("results", [body]):
            for name in item.keys() & {"id", "sku", "order_id"}:
                self._add(noun, name, item[name])
        for link in filter(None, (body.get("next"), body.get("previous"))):
            self._add(noun, "cursor", *parse_qs(urlsplit(link).query)["cursor"])

    def _add(self, noun: str, name: str, *values: str) -> None:
        self._values[_kind(noun, name)] += values


def _places(operation: Any) -> Iterator[tuple[str, str, Kind]]:
    """Yield each place of a request for a seen value: part, name and kind of value."""
    owner, noun = _noun(operation.path.partition("{")[0]), _noun(operation.path)
    for container, parameters, of in (
        ("path_parameters", operation.path_parameters, owner),
        ("query", operation.query, noun),
        ("headers", operation.headers, noun),
    ):
        yield from (
            (container, parameter.name, _kind(of, parameter.name)) for parameter in parameters
        )


def _kind(noun: str, name: str) -> Kind:
    """Return the kind of a value: ids and cursors have a noun, other names are kinds."""
    if name == "order_id":
        return "orders", "id"
    return noun if name in {"id", "cursor"} else "", name


def _noun(path: str) -> str:
    """Return the last word of a path that is not a parameter."""
    return str(re.findall(r"(?<=/)\w+(?=/)", path)[-1])


def _step(operation: Any) -> strategies.SearchStrategy[Step]:
    places = len([*_places(operation)])
    case = strategies.sampled_from(MODES).flatmap(
        lambda mode: operation.as_strategy(generation_mode=mode)
    )
    back = strategies.lists(strategies.integers(0, FARTHEST), min_size=places, max_size=places)
    return strategies.builds(Step, case, back, strategies.integers(1, 2))


# Without the operations that revoke tokens, because after them every answer is 401.
OPERATIONS = [found.ok() for found in SAMPLED.get_all_operations() if found.ok().method != "delete"]
STEPS = strategies.one_of([_step(operation) for operation in OPERATIONS])
