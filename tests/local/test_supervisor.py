"""The supervisor restarts dead programs with growing pauses, and stops in the reverse order of
stages.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.local.waiting import eventually
from tools.local.errors import PortTaken
from tools.local.processes import Process
from tools.local.supervisor import LONGEST_PAUSE_SECONDS, SETTLED_SECONDS, Child, Supervisor

RECORDS_START_AND_END = (
    "trap 'echo $0 >> {end}; exit' TERM; echo $0 >> {start}; while :; do sleep 0.02; done"
)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Callable[[str, int], Child]]:
    """Create children that record their names when they start and stop."""
    script = RECORDS_START_AND_END.format(start=tmp_path / "started", end=tmp_path / "ended")
    made: list[Child] = []

    def make(name: str, stage: int) -> Child:
        process = Process(name, ["/bin/sh", "-c", script, name], log=tmp_path / "log")
        made.append(Child(process=process, stage=stage))
        return made[-1]

    yield make
    for started in made:
        started.process.stop()


def recorded_names(path: Path) -> list[str]:
    """Return the recorded names."""
    return path.read_text().split() if path.exists() else []


def test_a_dead_child_is_restarted_after_its_pause(child: Callable[[str, int], Child]) -> None:
    worker = child("worker", 1)
    supervisor = Supervisor([worker], notify=lambda text: None)
    supervisor.start()
    first = worker.process.pid
    worker.process.stop()
    assert supervisor.run_once(now=100.0) == 0
    assert supervisor.run_once(now=100.4) == 0
    assert supervisor.run_once(now=100.5) == 1
    assert worker.process.running
    assert worker.process.pid != first


def test_the_pause_doubles_up_to_a_limit_and_is_reset_for_a_stable_child(
    child: Callable[[str, int], Child],
) -> None:
    worker = child("worker", 1)
    assert [worker.record_death(now=1.0) for _ in range(7)] == [
        0.5,
        1,
        2,
        4,
        8,
        LONGEST_PAUSE_SECONDS,
        LONGEST_PAUSE_SECONDS,
    ]
    assert worker.record_death(now=SETTLED_SECONDS + 1) == 0.5


def test_programs_stop_in_the_reverse_order_of_their_start(
    child: Callable[[str, int], Child], tmp_path: Path
) -> None:
    children = [
        child("beat", 3),
        child("worker-2", 1),
        child("worker-1", 1),
        child("api", 2),
        child("postgres", 0),
    ]
    supervisor = Supervisor(children)
    supervisor.start()
    assert eventually(lambda: len(recorded_names(tmp_path / "started")) == 5)
    supervisor.stop()
    beat, api, *workers, postgres = recorded_names(tmp_path / "ended")
    assert (beat, api, postgres) == ("beat", "api", "postgres")
    assert sorted(workers) == ["worker-1", "worker-2"]
    assert supervisor.pids == {}


class BlockedProgram:
    """A program that cannot start because its port is taken."""

    name = "api"
    pid = None
    running = False
    starts = 0

    def start(self) -> None:
        self.starts += 1
        raise PortTaken(8000, "API_PORT")

    def stop(self) -> None:
        """Do nothing, because the program never runs."""


def test_a_failed_start_is_repeated_and_reported() -> None:
    blocked = BlockedProgram()
    notices: list[str] = []
    supervisor = Supervisor([Child(process=blocked, stage=0)], notify=notices.append)
    assert [supervisor.run_once(now) for now in (0.0, 1e9, 2e9)] == [0, 0, 0]
    assert blocked.starts == 2
    assert "port 8000" in notices[1]
