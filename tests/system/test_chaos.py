"""A small soak: the whole system under load while its processes are killed. `make chaos` runs
larger ones.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.chaos.provider_movements import DISPUTE, REFUND, RETURN
from tools.local.rundir import PROJECT, RunDir

pytestmark = [pytest.mark.system, pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(300)]

# Customers do not wait for open orders (`open`), because lost orders stay open forever.
SMALL = {"orders": 120, "kills": 8, "flushalls": 1, "seed": 1, "open": 120}
# Two bad releases, which the seed draws, and a deployment: both releases have workers on one queue.
EPISODES = {"bad-releases": 2, "deployments": 1, "episode-seconds": 3}
NO_EPISODES = {"bad-releases": 0, "deployments": 0}
# At the payment sandbox, other people move money too, while orders are placed. So orders must end
# meanwhile.
AT_STRIPE = {"orders": 40, "kills": 3, "flushalls": 1, "seed": 12, "open": 15}
# The sandbox takes 100 ms a call, and some calls hang or are answered 500.
SLOW = {"call-ms": 100, "hanging": 3, "errors": 10}
# With the default stall of 30 s, the test would mostly wait.
QUICK = {"SAGA_STALL_SECONDS": "5"}


def soak(*, settings="config.settings", gateway="simulated", **size):
    """Run a soak on a separate system."""
    size = NO_EPISODES | size
    options = [part for name, value in size.items() for part in (f"--{name}", str(value))]
    return subprocess.run(
        [sys.executable, "-m", "tools.chaos", "--json", *options],
        cwd=PROJECT,
        env=os.environ | QUICK | {"DJANGO_SETTINGS_MODULE": settings, "PAYMENT_GATEWAY": gateway},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def forget(done):
    """Remove the logs that a failed soak keeps."""
    found = re.search(r"Logs: (\S+)/logs", done.stderr)
    assert found
    RunDir(Path(found[1])).remove()


def test_every_invariant_holds_after_kills_bad_releases_and_a_deployment_under_load():
    done = soak(**SMALL, **EPISODES)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["orders"], outcome["open"], outcome["violations"]) == (120, 0, [])
    assert sum(outcome["injected"].values()) == 9
    assert sum(outcome["episodes"].values()) == 3
    assert outcome["episodes"].keys() >= {
        "UPDATE on inventory_inbox is revoked",
        "a deployment adds and renames a step",
    }


def test_every_amount_is_right_although_people_and_banks_move_money_too():
    done = soak(gateway="stripe", **AT_STRIPE)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["orders"], outcome["open"], outcome["violations"]) == (40, 0, [])
    assert outcome["movements"].keys() >= {REFUND, DISPUTE, RETURN}


def test_every_invariant_holds_beside_a_slow_and_misbehaving_provider():
    done = soak(orders=12, kills=1, flushalls=0, seed=5, open=12, **SLOW)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["orders"], outcome["open"], outcome["violations"]) == (12, 0, [])


def test_a_plain_chain_sent_on_commit_loses_orders_under_the_same_faults(capsys):
    """Show that the soak detects losses: the same load and faults, but no outbox and no inbox."""
    done = soak(settings="tests.naive.settings", **SMALL, patience=20)
    assert done.returncode == 1, done.stderr
    outcome = json.loads(done.stdout)

    with capsys.disabled():
        print(  # noqa: T201
            f"\nWithout outbox and inbox, {outcome['open']} of {outcome['orders']} orders "
            f"never ended."
        )

    assert outcome["open"] > 0
    assert (
        sum("has not ended" in violation for violation in outcome["violations"]) == outcome["open"]
    )
    forget(done)
