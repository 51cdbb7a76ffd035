"""The gateway of the demo and `make run`: the sandbox, the user's choice or the earlier gateway."""

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


def gateway_in_use(run_dir: RunDir) -> str:
    """Choose a gateway and record it as a stack does; return the name of the gateway in use."""
    choose_gateway(run_dir)
    servers = local_servers(run_dir)
    run_dir.write_env(servers.env)
    return "sandbox" if servers.sandbox else servers.env["PAYMENT_GATEWAY"]


def test_the_default_gateway_is_stripes_client_at_the_sandbox(run_dir: RunDir) -> None:
    assert gateway_in_use(run_dir) == "sandbox"


def test_a_stripe_account_is_not_used_unless_the_gateway_is_named(
    run_dir: RunDir,
) -> None:
    os.environ["STRIPE_API_KEY"] = "sk_of_an_account"
    assert gateway_in_use(run_dir) == "sandbox"
    assert "STRIPE_API_KEY" not in os.environ
    os.environ |= {"PAYMENT_GATEWAY": "stripe", "STRIPE_API_KEY": "sk_of_an_account"}
    assert gateway_in_use(run_dir) == "stripe"


@pytest.mark.parametrize(("named", "paid"), [("simulated", "simulated"), ("stripe", "sandbox")])
def test_the_users_choice_is_kept_for_the_next_run(run_dir: RunDir, named: str, paid: str) -> None:
    os.environ["PAYMENT_GATEWAY"] = named
    assert gateway_in_use(run_dir) == paid
    del os.environ["PAYMENT_GATEWAY"]
    assert gateway_in_use(run_dir) == paid


def test_a_gateway_that_does_not_know_earlier_payments_is_refused(run_dir: RunDir) -> None:
    assert gateway_in_use(run_dir) == "sandbox"
    os.environ["PAYMENT_GATEWAY"] = "simulated"
    with pytest.raises(LocalError, match="'simulated' does not know them"):
        choose_gateway(run_dir)
