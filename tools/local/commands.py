"""What `python -m tools.local` can do."""

import subprocess
import threading
from collections.abc import Sequence

from tools.local.gateway import choose_gateway
from tools.local.rundir import PROJECT, RunDir
from tools.local.servers import embedded_servers
from tools.local.stack import ADMIN, Stack, environment, running_stack

__all__ = ["execute", "run"]


def run() -> int:
    """Run the whole system until a signal to end; say where it is."""
    run_dir = RunDir()
    choose_gateway(run_dir)
    print("Starting PostgreSQL, Valkey, three workers, the API and beat")
    try:
        with running_stack(run_dir) as stack:
            print(welcome(stack), flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("Stopped")
    return 0


def welcome(stack: Stack) -> str:
    """Return where everything is, and how to get in."""
    sandbox = (
        f"\n  Sandbox {stack.sandbox}, in place of Stripe: no money moves" if stack.sandbox else ""
    )
    return f"""
  API     {stack.api}/api/v1/
  Docs    {stack.api}/api/v1/docs/
  Admin   {stack.api}/admin/{sandbox}
  Login   {ADMIN} / {stack.admin_password}
  Logs    {stack.run_dir.logs}

Ctrl-C stops it. The data stay in {stack.run_dir.path}."""


def execute(command: Sequence[str]) -> int:
    """Run a command with the servers' environment, starting the servers where they are down;
    return its exit code.
    """
    run_dir = RunDir()
    if run_dir.in_use:
        return _call(command, environment(run_dir, run_dir.read_env()))
    choose_gateway(run_dir)
    with embedded_servers(run_dir) as env:
        return _call(command, environment(run_dir, env))


def _call(command: Sequence[str], env: dict[str, str]) -> int:
    return subprocess.run(command, cwd=PROJECT, env=env, check=False).returncode
