"""No process stays behind after a stop or after the death of its parent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.local.waiting import eventually
from tools.local.processes import Process

PROJECT = Path(__file__).parents[2]

# Like a worker with its pool: a main process, and a child that would survive it.
POOL = "sleep 1000 & echo ready; wait"
STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done"

SUPERVISOR = """
import sys, threading
from pathlib import Path
from tools.local.processes import Process
process = Process("pool", ["/bin/sh", "-c", sys.argv[1]], log=Path(sys.argv[2]))
process.start()
print(process.pid, flush=True)
threading.Event().wait()
"""


def process(script: str, tmp_path: Path, *, stop_timeout: float = 20.0) -> Process:
    """Start a shell script and wait until it prints `ready`."""
    log = tmp_path / "log"
    started = Process("script", ["/bin/sh", "-c", script], log=log, stop_timeout=stop_timeout)
    started.start()
    assert eventually(lambda: "ready" in log.read_text())

    return started


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that are still running."""
    return [found for found in processes if runs(found)]


def runs(process: psutil.Process) -> bool:
    """Return whether a process runs. A zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_child_dies_with_its_killed_parent(tmp_path: Path) -> None:
    pool = process(POOL, tmp_path)
    tree = pool.tree()
    os.kill(pool.pid or 0, signal.SIGKILL)
    assert len(tree) == 2
    assert eventually(lambda: not pool.running and not alive(tree))


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = process(STUBBORN, tmp_path, stop_timeout=0.2)
    tree = stubborn.tree()
    stubborn.stop()
    assert not stubborn.running
    assert eventually(lambda: not alive(tree))


def test_a_frozen_program_can_be_stopped(tmp_path: Path) -> None:
    pool = process(POOL, tmp_path, stop_timeout=5)
    pool.freeze()
    assert eventually(lambda: pool.tree()[0].status() == psutil.STATUS_STOPPED)
    pool.stop()
    assert not pool.running


@pytest.mark.parametrize("also_the_reaper", [False, True])
def test_a_killed_supervisor_leaves_no_process(tmp_path: Path, *, also_the_reaper: bool) -> None:
    # Without its reaper, only the kernel ends the supervisor's processes. It does not end the child
    # of a pool, so that case uses a script without a child.
    script = "echo ready; exec sleep 1000" if also_the_reaper else POOL
    arguments = [sys.executable, "-c", SUPERVISOR, script, str(tmp_path / "log")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as supervisor:
        assert supervisor.stdout
        assert supervisor.stdout.readline()
        assert eventually(lambda: "ready" in (tmp_path / "log").read_text())
        started = psutil.Process(supervisor.pid).children(recursive=True)
        reaper = [found for found in started if "orphan_reaper.py" in " ".join(found.cmdline())]
        for victim in [*(reaper if also_the_reaper else []), psutil.Process(supervisor.pid)]:
            victim.kill()

    assert len(reaper) == 1
    assert eventually(lambda: not alive(started))
