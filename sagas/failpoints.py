"""Failpoints: named places at which a test kills or freezes a real process, or makes it raise.

They are off unless the environment variable FAILPOINTS names a directory. Where they are off,
`reach` and `reach_each` are functions that do nothing, bound at import.

A test arms a fault by putting a file of the fault's name into `armed/`, while the processes run.
The first process that reaches the place takes the file by an atomic rename, so the fault happens
once. That process writes a record into `hits/`, logs it, and suffers the fault. After a freeze it
also creates a file in `thawed/`.
"""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from celery import signals

__all__ = [
    "ARMED",
    "HITS",
    "ONLY",
    "SINCE",
    "THAWED",
    "Action",
    "Failpoints",
    "Fault",
    "InjectedFault",
    "Point",
    "reach",
    "reach_each",
]

logger = logging.getLogger(__name__)

ARMED, TAKEN, HITS, THAWED = "armed", "taken", "hits", "thawed"

# The first word of an armed fault's file. The id of a saga follows it.
ONLY, SINCE = "only", "since"


class Point(StrEnum):
    """A place between two effects, where a crash leaves only the first."""

    UNCOMMITTED = "K1"  # the request has written its rows, but not committed
    FLUSH_NOT_REQUESTED = "K2"  # committed, but no flush is requested
    NOT_ANSWERED = "K3"  # a flush is requested, but the client has no answer
    LEASED = "K4"  # the relay has leased a row, but not sent it
    SENT = "K5"  # the row is sent, but not marked as published
    TAKEN = "K6"  # the worker's main process has the message, and the broker no longer does
    NOT_BEGUN = "K7"  # the worker's child has the message, but the step has no transaction yet
    NOT_CALLED = "K8"  # the intent is committed, but the outside system is not called
    NOT_RECORDED = "K9"  # the outside system has acted, but its answer is not committed
    COMMITTED = "K10"  # the step and its outbox row are committed, but nothing is sent
    PASSED_ON = "K11"  # the next message is sent, but this step's message is not acknowledged
    NOT_ACKNOWLEDGED = "K12"  # a webhook's event is committed, but its sender has no answer
    ROUND_SENT = "K13"  # beat has sent a task


class Action(StrEnum):
    """The kind of fault."""

    KILL = "kill"
    RAISE = "raise"
    FREEZE = "freeze"


class InjectedFault(Exception):
    """Raised by a failpoint that a test has armed."""


class Fault(NamedTuple):
    """A fault at a point of one step, event or task."""

    point: Point
    step: str
    action: Action

    @property
    def name(self) -> str:
        """The name of the fault's file in each folder."""
        return f"{self.point}-{self.step}-{self.action}"


class HasSaga(Protocol):
    """A message or a row that belongs to one saga."""

    @property
    def saga(self) -> UUID: ...


class HasTarget(HasSaga, Protocol):
    """An outbox row: its event type, and the steps that receive it."""

    @property
    def type(self) -> str: ...

    def recipients(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Failpoints:
    """The failpoints of this process, armed by files in a directory."""

    directory: Path

    def reach(self, point: Point, step: str, items: Iterable[HasSaga] | None = None) -> None:
        """Suffer the fault that is armed at a point of a step, if there is one.

        `items` are the messages or rows at this point. A fault of one saga ignores all others, and
        a fault with the id of its oldest saga ignores older ones.
        """
        sagas = None if items is None else sorted(str(item.saga) for item in items)
        for action in Action:
            fault = Fault(point, step, action)
            if self._take(fault, sagas):
                self._record(fault, sagas)
                self._suffer(fault)

    def reach_each(self, point: Point, rows: Iterable[HasTarget]) -> None:
        """Reach a point with outbox rows: once for each recipient, or event type without one."""
        by_step: dict[str, list[HasTarget]] = {}
        for row in rows:
            for step in row.recipients() or (row.type,):
                by_step.setdefault(step, []).append(row)

        for step, step_rows in by_step.items():
            self.reach(point, step, step_rows)

    def _take(self, fault: Fault, sagas: list[str] | None) -> bool:
        """Take the fault's file; return False if another process has it, or it is not armed."""
        armed = self.directory / ARMED / fault.name
        try:
            if sagas is not None:
                rule, _, limit = armed.read_text().partition(" ")
                if not any(saga == limit if rule == ONLY else saga >= limit for saga in sagas):
                    return False
            armed.rename(self._folder(TAKEN) / fault.name)
        except FileNotFoundError:
            return False
        return True

    def _record(self, fault: Fault, sagas: list[str] | None) -> None:
        """Log the hit, and write its record atomically, because a test may read it at any time."""
        logger.warning(
            "A test's failpoint %s was reached by process %d, with sagas %s",
            fault.name,
            os.getpid(),
            sagas,
        )
        record = {
            "pid": os.getpid(),
            "thread": threading.current_thread().name,
            "at": time.time_ns(),
            "sagas": sagas,
        }
        taken = self._folder(TAKEN) / fault.name
        taken.write_text(json.dumps(record))
        taken.rename(self._folder(HITS) / f"{fault.name}@{record['at']}")

    def _suffer(self, fault: Fault) -> None:
        # raise_signal delivers the signal to this thread. With os.kill another thread may get it,
        # while this one runs on.
        match fault.action:
            case Action.KILL:
                signal.raise_signal(signal.SIGKILL)
            case Action.FREEZE:
                try:
                    signal.raise_signal(signal.SIGSTOP)
                finally:  # a signal that arrived meanwhile may raise here: Celery's time limit
                    (self._folder(THAWED) / fault.name).touch()
            case Action.RAISE:
                raise InjectedFault(f"A test armed the failpoint {fault.name}.")

    def _folder(self, name: str) -> Path:
        folder = self.directory / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


class _SagaOf(NamedTuple):
    """The saga of a message that is not decoded yet."""

    saga: UUID


def _watch_deliveries(failpoints: Failpoints) -> None:
    """Reach K6 in the main process of a worker.

    It wraps kombu's bookkeeping, because Celery has no signal before it.
    """
    from kombu.transport.redis import QoS  # noqa: PLC0415  not patched where failpoints are off

    original = QoS.append

    def append(self: Any, message: Any, delivery_tag: Any) -> None:
        if message.headers.get("task") == "sagas.run_step":
            step, _, messages, *_ = message.payload[0]
            failpoints.reach(Point.TAKEN, step, [_SagaOf(UUID(one["saga"])) for one in messages])
        original(self, message, delivery_tag)

    QoS.append = append  # type: ignore[method-assign]


def _watch_rounds(failpoints: Failpoints) -> None:
    """Reach K13 in beat, after each task that it sends."""
    signals.after_task_publish.connect(
        lambda sender="", **_: failpoints.reach(Point.ROUND_SENT, sender),
        weak=False,
        dispatch_uid="failpoints",
    )


def _nothing(*_: object) -> None:
    """Replace `reach` and `reach_each` where failpoints are off."""


reach: Callable[..., None] = _nothing
reach_each: Callable[..., None] = _nothing

if os.environ.get("FAILPOINTS"):
    _failpoints = Failpoints(Path(os.environ["FAILPOINTS"]))
    reach, reach_each = _failpoints.reach, _failpoints.reach_each
    signals.worker_init.connect(lambda **_: _watch_deliveries(_failpoints), weak=False)
    signals.beat_init.connect(lambda **_: _watch_rounds(_failpoints), weak=False)
