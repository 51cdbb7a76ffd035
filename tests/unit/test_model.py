"""The model names functions that exist, and sends each event to the step that the code sends it to.

`make model` checks the properties of the model itself.
"""

import re
import runpy
from pathlib import Path
from pkgutil import resolve_name

import pytest
from django.conf import settings

from orders.saga import AUTHORIZE_FIRST, PLACE_ORDER
from tests.shop import of_shop

FOLDER = Path(settings.BASE_DIR) / "docs" / "model"
ROUTED = {"saga.pml", "authorize_first.pml"}
OTHERS = {
    "children.pml",
    "claims.pml",
    "destinations.pml",
    "holds.pml",
    "optional.pml",
    "parallel.pml",
    "retention.pml",
    "waits.pml",
}
RUNNER = runpy.run_path(str(FOLDER / "run.py"))
MODELS = {name: (FOLDER / name).read_text() for name in ROUTED | OTHERS}
NAMED = sorted({name for text in MODELS.values() for name in re.findall(r"/\* \[([\w.]+)\]", text)})
HOLDERS = sorted({check.held_by for check in RUNNER["PROTECTIONS"]})
CHARGE, AUTHORIZE = of_shop(PLACE_ORDER.plan), of_shop(AUTHORIZE_FIRST.plan)

# Where the plans send what each row of their models tells.
ROUTES = {
    "saga.pml": {
        "CREATED": ("order.created", CHARGE.first),
        "CANCELLING": ("order.cancelling", CHARGE.after_cancel()),
        "FULFILLED": ("order.fulfilled", CHARGE.after("orders.fulfil")),
        "PROCESSED": ("payment.processed", CHARGE.after("payments.charge")),
        "DECLINED": ("payment.failed", CHARGE.after_refusal("payments.charge")),
        "CHARGEFAILED": ("payment.failed", CHARGE.after_giving_up("payments.charge")),
        "REFUNDED": ("payment.refunded", CHARGE.after("payments.refund")),
        "RESERVED": ("stock.reserved", CHARGE.after("inventory.reserve")),
        "UNAVAILABLE": ("stock.unavailable", CHARGE.after_refusal("inventory.reserve")),
        "RESFAILED": ("stock.unavailable", CHARGE.after_giving_up("inventory.reserve")),
        "RELEASED": ("stock.released", CHARGE.after("inventory.release")),
        "SHIPPED": ("stock.shipped", CHARGE.after("inventory.ship")),
    },
    "authorize_first.pml": {
        "CREATED": ("order.created", AUTHORIZE.first),
        "ASKED": ("order.cancelling", AUTHORIZE.bar),
        "FULFILLED": ("order.fulfilled", AUTHORIZE.after("orders.fulfil")),
        "AUTHORIZED": ("payment.authorized", AUTHORIZE.after("payments.authorize")),
        "DECLINED": ("payment.failed", AUTHORIZE.after_refusal("payments.authorize")),
        "AUTHFAILED": ("payment.failed", AUTHORIZE.after_giving_up("payments.authorize")),
        "VOIDED": ("payment.voided", AUTHORIZE.after("payments.void")),
        "RESERVED": ("stock.reserved", AUTHORIZE.after("inventory.reserve")),
        "UNAVAILABLE": ("stock.unavailable", AUTHORIZE.after_refusal("inventory.reserve")),
        "RESFAILED": ("stock.unavailable", AUTHORIZE.after_giving_up("inventory.reserve")),
        "RELEASED": ("stock.released", AUTHORIZE.after("inventory.release")),
        "SHIPPED": ("stock.shipped", AUTHORIZE.after("inventory.ship")),
        "PROCESSED": ("payment.processed", AUTHORIZE.after("payments.capture")),
        "LAPSED": ("payment.failed", AUTHORIZE.after_refusal("payments.capture")),
        "WITHHELD": ("payment.withheld", AUTHORIZE.after("payments.withhold")),
        "EXPIRING": ("payment.expiring", AUTHORIZE.after_cancel()),
    },
}

each_model = pytest.mark.parametrize("model", sorted(MODELS))
each_routed_model = pytest.mark.parametrize("model", sorted(ROUTED))


@pytest.mark.parametrize("name", [*NAMED, *HOLDERS])
def test_every_function_that_the_models_name_exists(name):
    assert callable(resolve_name(name))


@each_model
def test_every_transition_names_its_function_or_is_a_fault(model):
    transitions = [line for line in MODELS[model].splitlines() if line.startswith("  :: atomic {")]

    unnamed = [line for line in transitions if not re.search(r"/\* (\[[\w.]+\]|fault: )", line)]

    assert len(transitions) > (50 if model in ROUTED else 8)
    assert not unnamed


@each_routed_model
def test_every_event_goes_in_the_model_where_the_plan_sends_it(model):
    drawn = re.findall(
        r"^#define ([A-Z]+) +\d+ +/\* ([a-z.]+) +-> ([a-z.]+)", MODELS[model], re.MULTILINE
    )

    assert {
        name: (event, None if target == "nothing" else target) for name, event, target in drawn
    } == ROUTES[model]


def test_a_giving_up_of_the_pivot_goes_where_a_cancel_goes():
    assert (
        CHARGE.after_giving_up("orders.fulfil")
        == CHARGE.after_refusal("orders.fulfil")
        == CHARGE.after_cancel()
    )


@each_model
def test_the_runner_takes_away_every_protection_of_the_model(model):
    switches = set(
        re.findall(r"(?:ifdef|ifndef|defined\()\s*((?:NO|CB|RESCUE|PURGE)_\w+)", MODELS[model])
    )

    taken = (check for check in RUNNER["PROTECTIONS"] if check.model == model)

    assert {name for check in taken for name in check.without} == switches


@each_model
def test_the_runner_seeks_every_end_of_the_model(model):
    probes = {f"PROBE={number}" for number in re.findall(r"PROBE==(\d)", MODELS[model])}

    sought = (check for check in RUNNER["REACHABLE"] if check.model == model)

    assert {option for check in sought for option in check.options} == probes


def test_without_its_tools_the_model_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert RUNNER["main"]([]) == 2

    told = capsys.readouterr().err
    assert "spin is not installed" in told
    assert "apt-get install spin" in told
