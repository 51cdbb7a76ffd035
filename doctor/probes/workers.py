"""Workers serve every queue, know every step of the open sagas, and beat runs."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from doctor.findings import Finding, Job, Options, fault, proved, unknown
from doctor.registry import probe
from doctor.servers import databases, rows
from sagas import Saga
from sagas.services import (
    Home,
    Plan,
    get_home,
    get_service,
    home_names,
    service_name,
    service_names,
)
from sagas.workers import DEAD_AFTER, WorkerHeartbeat, recent_heartbeats, seconds_since_beat

__all__ = ["beat", "queues_without_worker", "steps", "workers"]

OPEN_PLANS = "SELECT plan::text, count(*) FROM {tracked} WHERE ended_at IS NULL GROUP BY 1"


class _OpenPlan(NamedTuple):
    """A plan, and how many open sagas follow it; 0 if only new sagas will."""

    plan: Plan
    sagas: int

    def __str__(self) -> str:
        return f"{self.plan.saga} ({self.sagas} open)" if self.sagas else self.plan.saga


@probe("workers", proves="a worker is alive on every queue")
def workers(options: Options) -> Sequence[Job]:
    return [Job("workers", _workers)]


@probe("steps", proves="every live worker knows every step of every open saga")
def steps(options: Options) -> Sequence[Job]:
    served = databases()
    homes = [get_home(name) for name in home_names()]
    return [
        Job(f"steps of {home.name}", partial(_steps, home))
        for home in homes
        if home.alias in served
    ]


@probe("beat", proves="beat sends its tasks")
def beat(options: Options) -> Sequence[Job]:
    return [Job("beat", _beat)]


def _workers() -> Iterator[Finding]:
    heard = recent_heartbeats()
    for queue in _queues():
        alive = [worker for worker in heard if worker.alive and queue in worker.queues]
        if alive:
            processes = sum(worker.processes for worker in alive)
            yield proved(
                f"queue {queue}: {len(alive)} workers with {processes} processes are alive"
            )
        else:
            last = min((one.seconds for one in heard if queue in one.queues), default=None)
            since = "no worker in the last day" if last is None else f"the last {last:.0f} s ago"
            yield fault(
                f"queue {queue}: no worker is alive, {since}",
                f"Start one: celery -A config worker -Q {queue}",
            )


def queues_without_worker(heard: Iterable[WorkerHeartbeat]) -> list[str]:
    """Return the queues of this process's services that no live worker serves."""
    served = {queue for worker in heard if worker.alive for queue in worker.queues}
    return [queue for queue in _queues() if queue not in served]


def _queues() -> list[str]:
    served = databases()
    return [name for name in service_names() if get_service(name).alias in served]


def _steps(home: Home) -> Iterator[Finding]:
    alive = [worker for worker in recent_heartbeats() if worker.alive]
    plans = _open_plans(home)
    faults = [found for one in plans for found in _missing(one, alive)]
    yield from faults

    deaf = queues_without_worker(alive)
    if deaf:
        yield unknown(
            f"sagas of {home.name}: no live worker tells its steps on: {', '.join(deaf)}",
            "Start the workers, and run this again.",
        )
    silent = [worker.name for worker in alive if worker.steps is None]
    if silent:
        yield unknown(
            f"sagas of {home.name}: these workers are of an earlier release and do not send their "
            f"steps: {', '.join(silent)}",
            "Restart them with this release.",
        )
    if not faults and not silent and not deaf:
        names = {name for one in plans for name in one.plan.names()}
        yield proved(
            f"sagas of {home.name}: the live workers know all {len(names)} steps of "
            f"{', '.join(str(one) for one in plans)}"
        )


def _missing(one: _OpenPlan, alive: Sequence[WorkerHeartbeat]) -> Iterator[Finding]:
    queues = set(_queues())
    for step in sorted(set(one.plan.names())):
        queue = service_name(step)
        if queue not in queues:
            yield fault(
                f"saga {one}: this release has no service for its step {step}",
                "Run workers of the release that has it until these sagas have ended.",
            )
        for worker in alive:
            if queue in worker.queues and worker.steps is not None and step not in worker.steps:
                yield fault(
                    f"saga {one}: worker {worker.name} does not know its step {step}",
                    "Restart this worker with a release that has the step.",
                )


def _open_plans(home: Home) -> list[_OpenPlan]:
    """Return the plans of open sagas and the declared plans of new sagas."""
    found = [
        row for table in home.tables for row in rows(home.alias, OPEN_PLANS.format(tracked=table))
    ]
    plans = [_OpenPlan(msgspec.json.decode(text, type=Plan), sagas) for text, sagas in found]
    known = [one.plan for one in plans]
    declared = [saga.plan for saga in Saga.declared.values() if saga.plan.home == home.name]
    return [*plans, *(_OpenPlan(plan, 0) for plan in declared if plan not in known)]


def _beat() -> Iterator[Finding]:
    seconds = seconds_since_beat()
    if seconds is not None and seconds <= DEAD_AFTER:
        yield proved(f"beat: sent a task within the last {DEAD_AFTER:.0f} s")
        return
    last = "in the last day" if seconds is None else f"for {seconds:.0f} s"
    yield fault(
        f"beat: no beat of this release has sent a task {last}", "Start it: celery -A config beat"
    )
