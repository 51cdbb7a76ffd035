"""Steps of a made-up sequence: requests, in whose places stands which of the earlier answers to
take a value from.

What is drawn are requests and numbers, never what was answered: ids, cursors and times are others
in each run, and Hypothesis must be able to run a sequence again as it was.
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

# One request in ten does not fit the schema: what is refused must change nothing for those that
# follow.
MODES = [GenerationMode.POSITIVE] * 9 + [GenerationMode.NEGATIVE]

# How many values of its kind a place goes back, at most; 0 keeps the value that was made up.
FARTHEST = 5

# What a value is: under which noun of the API, and what it is called there.
Kind = tuple[str, str]


class Step(NamedTuple):
    """A request, for each of its places how many values to go back, and how many times it is
    sent.
    """

    case: schemathesis.Case
    back: list[int]
    times: int


class Seen:
    """What was sent and answered so far and later requests may name: ids, SKUs, cursors, ETags,
    keys.
    """

    def __init__(self) -> None:
        self._values: defaultdict[Kind, list[str]] = defaultdict(list)

    def fill(self, step: Step) -> schemathesis.Case:
        """Return the request of a step, with what was seen in its places. One that must not fit
        stays as it is.
        """
        case = step.case
        if case.meta is None or not case.meta.generation.mode.is_positive:
            return case
        for (container, name, kind), back in zip(_places(case.operation), step.back, strict=True):
            values = self._values[kind]
            if back and values:
                getattr(case, container)[name] = values[-1 - (back - 1) % len(values)]
        return case

    def note(self, case: schemathesis.Case, response: Response) -> None:
        """Remember what an answer names, and the key under which it was asked for."""
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
    """Yield where a request has room for what was seen: the part of it, the name, and what
    belongs there.
    """
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
    """Return the kind of a value: an id or a cursor is one of its noun; other names say by
    themselves what they are.
    """
    if name == "order_id":
        return "orders", "id"
    return noun if name in {"id", "cursor"} else "", name


def _noun(path: str) -> str:
    """Return the last word of a path that is no parameter."""
    return str(re.findall(r"(?<=/)\w+(?=/)", path)[-1])


def _step(operation: Any) -> strategies.SearchStrategy[Step]:
    places = len([*_places(operation)])
    case = strategies.sampled_from(MODES).flatmap(
        lambda mode: operation.as_strategy(generation_mode=mode)
    )
    back = strategies.lists(strategies.integers(0, FARTHEST), min_size=places, max_size=places)
    return strategies.builds(Step, case, back, strategies.integers(1, 2))


# Not those that sign out, after which every answer is 401.
OPERATIONS = [found.ok() for found in SAMPLED.get_all_operations() if found.ok().method != "delete"]
STEPS = strategies.one_of([_step(operation) for operation in OPERATIONS])
