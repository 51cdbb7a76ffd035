"""The payment sandbox as a server, for PAYMENT_GATEWAY=stripe without a Stripe account."""

import contextlib
import os
import sys
from collections.abc import Mapping

import httpx

from tools.local.ports import HOST
from tools.local.processes import Process
from tools.local.programs import api_port
from tools.local.rundir import PROJECT, RunDir
from tools.local.server import EmbeddedServer

__all__ = ["PaymentSandbox"]

WEBHOOKS = "/api/v1/payments/webhooks/stripe/"


class PaymentSandbox(EmbeddedServer):
    """The sandbox on the loopback interface."""

    name = "sandbox"
    port_variable = "LOCAL_SANDBOX_PORT"

    def __init__(self, run_dir: RunDir, port: int) -> None:
        """Describe a sandbox whose ledger is in `run_dir`."""
        self.run_dir = run_dir
        self.port = port
        self.log = run_dir.log(self.name)
        self.home = run_dir.path / self.name

    @staticmethod
    def is_needed(user_env: Mapping[str, str]) -> bool:
        """Return whether the user chose Stripe without naming an account or a server."""
        return user_env.get("PAYMENT_GATEWAY") == "stripe" and not any(
            name.startswith("STRIPE_") for name in user_env
        )

    @property
    def env(self) -> dict[str, str]:
        """The variables that make the service use this sandbox."""
        return {
            "PAYMENT_GATEWAY": "stripe",
            "STRIPE_API_BASE": f"http://{HOST}:{self.port}",
            "STRIPE_API_KEY": f"sk_test_{self.run_dir.secret(self.name)}",
            "STRIPE_WEBHOOK_SECRET": f"whsec_{self.run_dir.secret('webhooks')}",
        }

    def prepare(self) -> Process:
        """Create the ledger's directory. The sandbox reads its secrets from the environment."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = ("--port", str(self.port), "--ledger", str(self.home / "ledger.sqlite3"))
        webhooks = ("--webhook-url", f"http://{HOST}:{api_port()}{WEBHOOKS}")
        command = [sys.executable, "-m", "tools.stripe_sandbox", *options, *webhooks]

        return Process(self.name, command, log=self.log, env=os.environ | self.env, cwd=PROJECT)

    def answers(self) -> bool:
        """Return whether the sandbox answers."""
        with contextlib.suppress(httpx.TransportError):
            url = f"http://{HOST}:{self.port}/sandbox/health"
            return httpx.get(url, timeout=2, trust_env=False).is_success
        return False
