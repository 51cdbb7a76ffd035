"""The commands of `python -m tools.local`."""

import subprocess
import threading
from collections.abc import Sequence

from tools.local.gateway import choose_gateway
from tools.local.rundir import PROJECT, RunDir
from tools.local.servers import embedded_servers
from tools.local.stack import ADMIN, Stack, environment, running_stack

__all__ = ["execute", "run"]


def run() -> int:
    """Run the whole system until Ctrl-C or SIGTERM, and print its addresses."""
    run_dir = RunDir()
    choose_gateway(run_dir)
    print("Starting PostgreSQL, Valkey, the workers, the API and beat")

    try:
        with running_stack(run_dir) as stack:
            print(welcome(stack), flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("Stopped")

    return 0


def welcome(stack: Stack) -> str:
    """Return the addresses, the login and the log directory as text."""
    sandbox = (
        f"\n  Sandbox {stack.sandbox} (stands in for Stripe: no money moves)"
        if stack.sandbox
        else ""
    )
    return f"""
  API     {stack.api}/api/v1/
  Docs    {stack.api}/api/v1/docs/
  Admin   {stack.api}/admin/{sandbox}
  Login   {ADMIN} / {stack.admin_password}
  Logs    {stack.run_dir.logs}

Ctrl-C stops it. The data stays in {stack.run_dir.path}."""


def execute(command: Sequence[str]) -> int:
    """Run a command with the servers' environment; return its exit code.

    Starts the servers first if they are down, and stops them afterwards.
    """
    run_dir = RunDir()
    if run_dir.in_use:
        return _call(command, environment(run_dir, run_dir.read_env()))

    choose_gateway(run_dir)
    with embedded_servers(run_dir) as env:
        return _call(command, environment(run_dir, env))


def _call(command: Sequence[str], env: dict[str, str]) -> int:
    return subprocess.run(command, cwd=PROJECT, env=env, check=False).returncode
