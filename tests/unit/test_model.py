"""The model and the code say the same: names, and where each event goes. What the model proves, `make model` shows."""

import re
import runpy
from pathlib import Path
from pkgutil import resolve_name

import pytest
from django.conf import settings

from orders.saga import PLACE_ORDER

FOLDER = Path(settings.BASE_DIR) / "docs" / "model"
MODEL = (FOLDER / "saga.pml").read_text()
RUNNER = runpy.run_path(str(FOLDER / "run.py"))
NAMED = sorted(set(re.findall(r"/\* \[([\w.]+)\]", MODEL)))
HOLDERS = sorted({check.held_by for check in RUNNER["PROTECTIONS"]})
PLAN = PLACE_ORDER.plan

# Where the plan sends what each row of the model tells.
ROUTES = {
    "CREATED": ("order.created", PLAN.first),
    "CANCELLING": ("order.cancelling", PLAN.after_cancel()),
    "FULFILLED": ("order.fulfilled", PLAN.after("orders.fulfil")),
    "PROCESSED": ("payment.processed", PLAN.after("payments.charge")),
    "DECLINED": ("payment.failed", PLAN.after_refusal("payments.charge")),
    "CHARGEFAILED": ("payment.failed", PLAN.after_giving_up("payments.charge")),
    "REFUNDED": ("payment.refunded", PLAN.after("payments.refund")),
    "RESERVED": ("stock.reserved", PLAN.after("inventory.reserve")),
    "UNAVAILABLE": ("stock.unavailable", PLAN.after_refusal("inventory.reserve")),
    "RESFAILED": ("stock.unavailable", PLAN.after_giving_up("inventory.reserve")),
    "RELEASED": ("stock.released", PLAN.after("inventory.release")),
    "SHIPPED": ("stock.shipped", PLAN.after("inventory.ship")),
}


@pytest.mark.parametrize("name", [*NAMED, *HOLDERS])
def test_every_function_that_the_model_names_exists(name):
    assert callable(resolve_name(name))


def test_every_transition_names_its_function_or_is_a_fault():
    transitions = [line for line in MODEL.splitlines() if line.startswith("  :: atomic {")]

    unnamed = [line for line in transitions if not re.search(r"/\* (\[[\w.]+\]|fault: )", line)]

    assert len(transitions) > 50
    assert not unnamed


def test_every_event_goes_in_the_model_where_the_plan_sends_it():
    drawn = re.findall(r"^#define ([A-Z]+) +\d+ +/\* ([a-z.]+) +-> ([a-z.]+)", MODEL, re.MULTILINE)

    assert {name: (event, None if target == "nothing" else target) for name, event, target in drawn} == ROUTES


def test_a_giving_up_of_the_pivot_goes_where_a_cancel_goes():
    assert PLAN.after_giving_up("orders.fulfil") == PLAN.after_refusal("orders.fulfil") == PLAN.after_cancel()


def test_the_runner_takes_away_every_protection_of_the_model():
    switches = set(re.findall(r"(?:ifdef|ifndef|defined\()\s*((?:NO|CB|RESCUE|PURGE)_\w+)", MODEL))

    assert {name for check in RUNNER["PROTECTIONS"] for name in check.without} == switches


def test_the_runner_seeks_every_end_of_the_model():
    probes = {f"PROBE={number}" for number in re.findall(r"PROBE==(\d)", MODEL)}

    assert {option for check in RUNNER["REACHABLE"] for option in check.options} == probes


def test_without_its_tools_the_model_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert RUNNER["main"]([]) == 2

    told = capsys.readouterr().err
    assert "spin is not installed" in told
    assert "apt-get install spin" in told
