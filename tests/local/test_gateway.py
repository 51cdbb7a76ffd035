"""Choosing the gateway of the demo and `make run`: the sandbox, the user's choice, or the earlier
one.
"""

import os
from pathlib import Path

import pytest

from tools.local.errors import LocalError
from tools.local.gateway import choose_gateway
from tools.local.rundir import RunDir
from tools.local.servers import local_servers


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """Return a run directory without payments, in an environment that names no gateway."""
    for name in [name for name in os.environ if name.startswith(("STRIPE_", "PAYMENT_GATEWAY"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    return RunDir(tmp_path)


def pay(run_dir: RunDir) -> str:
    """Choose a gateway and record it as a stack does; return the name of the gateway in use."""
    choose_gateway(run_dir)
    servers = local_servers(run_dir)
    run_dir.write_env(servers.env)
    return "sandbox" if servers.sandbox else servers.env["PAYMENT_GATEWAY"]


def test_by_itself_it_is_stripes_client_at_the_sandbox(run_dir: RunDir) -> None:
    assert pay(run_dir) == "sandbox"


def test_an_account_in_the_environment_is_not_used_unless_the_gateway_is_named(
    run_dir: RunDir,
) -> None:
    os.environ["STRIPE_API_KEY"] = "sk_of_an_account"
    assert pay(run_dir) == "sandbox"
    assert "STRIPE_API_KEY" not in os.environ
    os.environ |= {"PAYMENT_GATEWAY": "stripe", "STRIPE_API_KEY": "sk_of_an_account"}
    assert pay(run_dir) == "stripe"


@pytest.mark.parametrize(("named", "paid"), [("simulated", "simulated"), ("stripe", "sandbox")])
def test_what_the_user_names_is_kept_for_the_next_time(
    run_dir: RunDir, named: str, paid: str
) -> None:
    os.environ["PAYMENT_GATEWAY"] = named
    assert pay(run_dir) == paid
    del os.environ["PAYMENT_GATEWAY"]
    assert pay(run_dir) == paid


def test_another_gateway_than_the_one_that_was_paid_through_is_refused(run_dir: RunDir) -> None:
    assert pay(run_dir) == "sandbox"
    os.environ["PAYMENT_GATEWAY"] = "simulated"
    with pytest.raises(LocalError, match="'simulated' does not know them"):
        choose_gateway(run_dir)
