"""Failpoints: named places at which a test has a real process killed, frozen or made to raise.

Off unless the environment variable FAILPOINTS names a directory; until then `reach` and
`reach_each` are functions that do nothing, bound at import. A fault is armed by putting a file of
its name into `armed/`, while the processes run. Whoever reaches the place first takes it by an
atomic rename, so it happens once, in one process; leaves a record of it in `hits/`, logs it, and
suffers it. One that was frozen leaves a file in `thawed/` as it goes on.
"""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from celery import signals

__all__ = [
    "ARMED",
    "HITS",
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


class Point(StrEnum):
    """Where, between two things of which a crash may leave only the first."""

    UNCOMMITTED = "K1"  # the request's rows are written, its transaction is open
    NOT_NUDGED = "K2"  # it is committed, the relay does not know yet
    NOT_ANSWERED = "K3"  # the relay is nudged, the client has no answer
    LEASED = "K4"  # the relay has claimed a row, and has not sent it
    SENT = "K5"  # sent, not marked
    TAKEN = "K6"  # the worker's main process has the message, the broker has forgotten it
    NOT_BEGUN = "K7"  # the worker's child has the message, the step's transaction is still to come
    NOT_CALLED = "K8"  # the intent is committed, the outside system knows nothing
    NOT_RECORDED = "K9"  # the outside system has acted, we have not written it down
    COMMITTED = "K10"  # step and outbox row are committed, nothing is sent
    PASSED_ON = "K11"  # the saga goes on elsewhere, the broker still thinks this step is running
    NOT_ACKNOWLEDGED = "K12"  # what a webhook told is committed, its sender has no answer
    ROUND_SENT = "K13"  # beat has sent a task


class Action(StrEnum):
    """What happens there."""

    KILL = "kill"
    RAISE = "raise"
    FREEZE = "freeze"


class InjectedFault(Exception):
    """Raised by a failpoint that a test has armed."""


class Fault(NamedTuple):
    """One fault: where, at which step (or event, or task), and what happens. Its name is that of
    its file.
    """

    point: Point
    step: str
    action: Action

    @property
    def name(self) -> str:
        """The name of its file in each of the folders."""
        return f"{self.point}-{self.step}-{self.action}"


class HasSaga(Protocol):
    """What knows its saga: a message, a row."""

    @property
    def saga(self) -> UUID: ...


class HasTarget(HasSaga, Protocol):
    """A row of the outbox, which knows what it tells of and where it goes."""

    @property
    def type(self) -> str: ...

    @property
    def target(self) -> str | None: ...


@dataclass(frozen=True)
class Failpoints:
    """The failpoints of this process, armed by the files of a directory."""

    directory: Path

    def reach(self, point: Point, step: str, concerned: Iterable[HasSaga] | None = None) -> None:
        """Suffer the fault that is armed here, if one is.

        `concerned` are the messages that are here; a fault armed for sagas from some id on passes
        older ones by.
        """
        sagas = None if concerned is None else sorted(str(item.saga) for item in concerned)
        for action in Action:
            fault = Fault(point, step, action)
            if self._take(fault, sagas):
                self._record(fault, sagas)
                self._suffer(fault)

    def reach_each(self, point: Point, rows: Iterable[HasTarget]) -> None:
        """Reach a point with rows of an outbox: once for each step they go to, or event they end
        with.
        """
        by_step: dict[str, list[HasTarget]] = {}
        for row in rows:
            by_step.setdefault(row.target or row.type, []).append(row)
        for step, those in by_step.items():
            self.reach(point, step, those)

    def _take(self, fault: Fault, sagas: list[str] | None) -> bool:
        armed = self.directory / ARMED / fault.name
        try:
            if sagas is not None and not any(saga >= armed.read_text() for saga in sagas):
                return False
            armed.rename(self._folder(TAKEN) / fault.name)
        except FileNotFoundError:
            return False
        return True

    def _record(self, fault: Fault, sagas: list[str] | None) -> None:
        """Tell of the hit; a whole record or none, for a reader may come at any moment."""
        logger.warning("Failpoint %s is hit by %d, for %s", fault.name, os.getpid(), sagas)
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
        # raise_signal, so that this very thread gets it: with os.kill another may, and this one
        # gets some way further.
        match fault.action:
            case Action.KILL:
                signal.raise_signal(signal.SIGKILL)
            case Action.FREEZE:
                try:
                    signal.raise_signal(signal.SIGSTOP)
                finally:  # what came in meanwhile is raised first, as Celery's time limit is
                    (self._folder(THAWED) / fault.name).touch()
            case Action.RAISE:
                raise InjectedFault(f"{fault.name} was armed.")

    def _folder(self, name: str) -> Path:
        folder = self.directory / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


class _Of(NamedTuple):
    saga: UUID


def _watch_deliveries(failpoints: Failpoints) -> None:
    """Reach K6 in the main process of a worker: no signal of Celery's comes before the broker's
    own bookkeeping.
    """
    from kombu.transport.redis import QoS  # noqa: PLC0415  where failpoints are off, nothing of the broker is touched

    keep = QoS.append

    def append(self: Any, message: Any, delivery_tag: Any) -> None:
        if message.headers.get("task") == "sagas.run_step":
            step, _, messages, *_ = message.payload[0]
            failpoints.reach(Point.TAKEN, step, [_Of(UUID(one["saga"])) for one in messages])
        keep(self, message, delivery_tag)

    QoS.append = append  # type: ignore[method-assign]


def _watch_rounds(failpoints: Failpoints) -> None:
    """Reach K13 in beat."""
    signals.after_task_publish.connect(
        lambda sender="", **_: failpoints.reach(Point.ROUND_SENT, sender),
        weak=False,
        dispatch_uid="failpoints",
    )


def _nothing(*_: object) -> None:
    """Do nothing: failpoints are off."""


reach: Callable[..., None] = _nothing
reach_each: Callable[..., None] = _nothing

if os.environ.get("FAILPOINTS"):
    _failpoints = Failpoints(Path(os.environ["FAILPOINTS"]))
    reach, reach_each = _failpoints.reach, _failpoints.reach_each
    signals.worker_init.connect(lambda **_: _watch_deliveries(_failpoints), weak=False)
    signals.beat_init.connect(lambda **_: _watch_rounds(_failpoints), weak=False)
