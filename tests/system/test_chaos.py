"""A small soak: the whole system under load while everything is killed. The larger ones are
`make chaos`.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.local.rundir import PROJECT, RunDir

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(300)]

# Nobody holds back (`open`), as orders that are lost stay open for ever.
SMALL = {"orders": 150, "kills": 8, "flushalls": 1, "seed": 1, "open": 150}
# The usual stall of 30 s, for which nothing happens, would be most of the time.
QUICK = {"SAGA_STALL_SECONDS": "5"}


def soak(*, settings="config.settings", **size):
    """Run a soak to its end, on a system of its own."""
    options = [part for name, value in size.items() for part in (f"--{name}", str(value))]
    return subprocess.run(
        [sys.executable, "-m", "tools.chaos", "--json", *options],
        cwd=PROJECT,
        env=os.environ | QUICK | {"DJANGO_SETTINGS_MODULE": settings},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def forget(done):
    """Remove what a soak with violations leaves to be looked at."""
    found = re.search(r"Logs: (\S+)/logs", done.stderr)
    assert found
    RunDir(Path(found[1])).remove()


def test_a_system_that_is_killed_under_load_keeps_every_promise():
    done = soak(**SMALL)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["orders"], outcome["open"], outcome["violations"]) == (150, 0, [])
    assert sum(outcome["injected"].values()) == 9


def test_a_plain_chain_sent_on_commit_loses_orders_under_the_same_faults(capsys):
    """What a soak that finds nothing is worth: the same customers and faults, and no outbox and
    inbox.
    """
    done = soak(settings="tests.naive.settings", **SMALL, patience=20)
    assert done.returncode == 1, done.stderr
    outcome = json.loads(done.stdout)
    with capsys.disabled():
        print(  # noqa: T201
            f"\nWithout outbox and inbox, {outcome['open']} of {outcome['orders']} orders never ended."
        )
    assert outcome["open"] > 0
    assert (
        sum("has not ended" in violation for violation in outcome["violations"]) == outcome["open"]
    )
    forget(done)
