"""The baseline: the shapes of all events and of all contexts that steps accept, in a file.

The file is part of the repository, and says how the last release writes and reads. So a test or
`manage.py upgrade_check` finds a change that a reader cannot follow. Both releases work on one
queue during a deployment, so each reads the messages of the other.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from sagas.checks.events import current_events
from sagas.checks.shapes import Field, Shape, shape_of
from sagas.definition import handlers
from sagas.definition.plan import Saga
from sagas.definition.results import RESULTS, reads_of

__all__ = ["Baseline", "Break", "breaks", "current", "read", "write"]

# The part of a context that a refusal or a cancel adds.
FAILURE = "failure"

# A field in the file.
ANYTHING, OR, OPTIONAL = "anything", " or ", ", optional"


class Baseline(msgspec.Struct, frozen=True):
    """The shapes of one release.

    `events` by type, `readers` by the name of the step. `started_by` has the type of the first
    event of each saga, whose fields are the context of its steps, and `steps` the names of them.
    `returns` has the type of the event whose facts a step adds to the context. A reader has them at
    `results`, the name of that step, and the field.
    """

    events: dict[str, Shape]
    readers: dict[str, Shape]
    started_by: dict[str, str]
    steps: dict[str, list[str]]
    returns: dict[str, str] = {}


class _Stored(msgspec.Struct, frozen=True):
    """A baseline as the file has it: each field as a text, such as "integer or null, optional"."""

    events: dict[str, dict[str, str]]
    readers: dict[str, dict[str, str]]
    started_by: dict[str, str]
    steps: dict[str, list[str]]
    returns: dict[str, str] = {}


class Break(NamedTuple):
    """A change that a reader cannot follow: the event or the step, and the reason in words."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


def current() -> Baseline:
    """Return the shapes of this release."""
    definitions = [handlers.definition(name) for name in handlers.names()]
    declared = Saga.declared
    return Baseline(
        events={event.type: shape_of(event) for event in current_events()},
        readers={each.name: _reader(each.accepts) for each in definitions if each},
        started_by={
            name: saga.started_by.type for name, saga in declared.items() if saga.started_by
        },
        steps={name: sorted(saga.plan.names()) for name, saga in declared.items()},
        returns={each.name: each.returns.type for each in definitions if each and each.returns},
    )


def _reader(accepts: type[msgspec.Struct]) -> Shape:
    """Return the shape of a context, with the results of other steps under their own names."""
    results = {read.field: f"{RESULTS}.{read.step}" for read in reads_of(accepts)}
    shape = {}
    for path, field in shape_of(accepts).items():
        first, dot, rest = path.partition(".")
        shape[f"{results.get(first, first)}{dot}{rest}"] = field
    return dict(sorted(shape.items()))


def read(path: Path) -> Baseline:
    """Read a baseline. Raises FileNotFoundError, and ValueError for another content."""
    stored = msgspec.json.decode(path.read_bytes(), type=_Stored)
    return Baseline(
        events={name: _shape(fields) for name, fields in stored.events.items()},
        readers={name: _shape(fields) for name, fields in stored.readers.items()},
        started_by=stored.started_by,
        steps=stored.steps,
        returns=stored.returns,
    )


def write(path: Path, baseline: Baseline) -> None:
    """Write a baseline, in an order and a form in which a review sees each change."""
    stored = _Stored(
        events={name: _fields(shape) for name, shape in baseline.events.items()},
        readers={name: _fields(shape) for name, shape in baseline.readers.items()},
        started_by=baseline.started_by,
        steps=baseline.steps,
        returns=baseline.returns,
    )
    encoded = msgspec.json.encode(stored, order="sorted")
    path.write_bytes(msgspec.json.format(encoded, indent=2) + b"\n")


def breaks(before: Baseline, now: Baseline) -> list[Break]:
    """Return the changes since a baseline that a reader of either release cannot follow."""
    found = [*_of_events(before, now), *_of_sources(before, now), *_of_readers(before, now)]
    return list(dict.fromkeys(found))


def _of_events(before: Baseline, now: Baseline) -> Iterator[Break]:
    for type_, old in before.events.items():
        new = now.events.get(type_)
        if new is None:
            continue  # nothing writes it any more
        for path, field in old.items():
            if path not in new:
                yield from _readers_of_removed(type_, path, before, now)
            elif not _is_readable(new[path], field):
                yield Break(
                    type_, f"the field {path!r} changed from {_words(field)} to {_words(new[path])}"
                )


def _readers_of_removed(type_: str, path: str, before: Baseline, now: Baseline) -> Iterator[Break]:
    """Yield the readers of either release that need a field which the event no longer has."""
    for release, words in ((before, "of the last release "), (now, "")):
        for step, at in _places(type_, path, release):
            field = release.readers.get(step, {}).get(at)
            if field and field.required:
                yield Break(type_, f"the field {path!r} is removed, but {step} {words}needs it")


def _of_sources(before: Baseline, now: Baseline) -> Iterator[Break]:
    """Yield the fields that workers of the last release need, and another event does not have.

    Another event in place of the last one starts a saga, or has the results of a step.
    """
    for saga, event in now.started_by.items():
        if event != before.started_by.get(saga, event):
            steps = set(before.steps.get(saga, ())) & set(now.steps.get(saga, ()))
            readers = {step: before.readers.get(step, {}) for step in sorted(steps)}
            yield from _lacking(saga, event, now, readers)

    for source, old in before.returns.items():
        event = now.returns.get(source, "")
        if event != old and source in now.readers:
            readers = {
                step: {
                    path.removeprefix(f"{RESULTS}.{source}."): field
                    for path, field in shape.items()
                    if path.startswith(f"{RESULTS}.{source}.")
                }
                for step, shape in before.readers.items()
            }
            yield from _lacking(source, event, now, readers)


def _lacking(name: str, event: str, now: Baseline, readers: Mapping[str, Shape]) -> Iterator[Break]:
    sent = now.events.get(event, {})
    for step, shape in readers.items():
        for path, field in shape.items():
            is_of_event = path.partition(".")[0] not in {FAILURE, RESULTS}
            if field.required and is_of_event and path not in sent:
                words = f"its event is {event or 'none'} now, without the field {path!r}"
                yield Break(name, f"{words}, but {step} of the last release needs it")


def _of_readers(before: Baseline, now: Baseline) -> Iterator[Break]:
    for step, old in before.readers.items():
        new = now.readers.get(step)
        if new is None:
            continue  # whether a saga still needs the step, the databases know
        for path, field in new.items():
            if path not in old or (field.required and not old[path].required):
                yield from _newly_required(step, path, field, before)
            elif not _is_readable(old[path], field):
                yield Break(
                    step,
                    f"it reads {path!r} as {_words(field)}, but messages under way have "
                    f"{_words(old[path])}",
                )


def _newly_required(step: str, path: str, field: Field, before: Baseline) -> Iterator[Break]:
    """Yield a field that a step needs now, unless the messages of the last release have it."""
    if field.required and path.partition(".")[0] != FAILURE and not _is_sent(step, path, before):
        yield Break(
            step, f"it needs the new field {path!r}, which messages under way lack: give a default"
        )


def _is_sent(step: str, path: str, release: Baseline) -> bool:
    """Tell whether the messages of a release to a step always had a field."""
    for source, type_ in release.returns.items():
        prefix = f"{RESULTS}.{source}"
        if path == prefix or path.startswith(f"{prefix}."):
            return path == prefix or path.removeprefix(f"{prefix}.") in release.events[type_]

    sagas = [saga for saga, steps in release.steps.items() if step in steps]
    types = [release.started_by.get(saga, "") for saga in sagas]
    known = [release.events[type_] for type_ in types if type_ in release.events]
    return bool(known) and all(path in shape for shape in known)


def _places(type_: str, path: str, release: Baseline) -> Iterator[tuple[str, str]]:
    """Yield each step whose context may have a field of an event, with the path there."""
    started = {saga for saga, event in release.started_by.items() if event == type_}
    for saga, steps in release.steps.items():
        for step in steps:
            if saga in started:
                yield step, path
            for source in steps:
                if release.returns.get(source) == type_:
                    yield step, f"{RESULTS}.{source}.{path}"


def _is_readable(sent: Field, wanted: Field) -> bool:
    """Tell whether a reader of one field reads all kinds of another. Any kind reads all."""
    if not sent.kinds or not wanted.kinds:
        return True
    readable = set(wanted.kinds) | ({"integer"} if "number" in wanted.kinds else set())
    return set(sent.kinds) <= readable


def _fields(shape: Shape) -> dict[str, str]:
    return {
        path: _words(field) + ("" if field.required else OPTIONAL) for path, field in shape.items()
    }


def _shape(fields: dict[str, str]) -> Shape:
    shape = {}
    for path, text in fields.items():
        words = text.removesuffix(OPTIONAL)
        kinds = () if words == ANYTHING else tuple(words.split(OR))
        shape[path] = Field(kinds, not text.endswith(OPTIONAL))
    return shape


def _words(field: Field) -> str:
    return OR.join(field.kinds) or ANYTHING
