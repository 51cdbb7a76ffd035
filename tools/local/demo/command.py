"""`python -m tools.local demo`: start a system, or use the running one, and play the demo."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from tools.local.consoles import wide_console
from tools.local.demo.demo_run import DemoRun
from tools.local.demo.report import (
    progress_of,
    show_free_orders,
    show_open_orders,
    show_outcomes,
    show_returns,
    show_timelines,
)
from tools.local.gateway import GATEWAY, choose_gateway
from tools.local.processes import poll
from tools.local.rundir import RunDir
from tools.local.stack import Stack, running_stack

__all__ = ["demo"]

# After the last order ends, the services still finish messages. That takes a moment.
QUIET_SECONDS = 20.0


def demo() -> int:
    """Play the demo; return 0 if all orders and returns ended as expected, no money moved for the
    free order, and all invariants hold; else 1.
    """
    console = wide_console()
    started = time.monotonic()

    with _stack(console) as stack:
        console.print(_payments(stack), style="cyan", highlight=False)
        run = _play(console, stack)
        show_outcomes(console, run)
        show_open_orders(console, run)
        free_with_money = run.free_orders_with_money()
        show_free_orders(console, free_with_money)
        show_returns(console, run.returns)
        show_timelines(console, run)
        audit = _audit(stack, width=console.width)
        print(audit.stdout, audit.stderr, sep="", flush=True)

    console.print(escape(_farewell(stack)), highlight=False)
    good = (
        run.as_expected
        and run.returns.as_expected
        and not run.open_orders
        and not free_with_money
        and audit.returncode == 0
    )
    console.print(_verdict(good=good, seconds=time.monotonic() - started))

    return 0 if good else 1


@contextlib.contextmanager
def _stack(console: Console) -> Iterator[Stack]:
    """Yield the running system of the run directory, or start one while the context lasts."""
    run_dir = RunDir()
    if run_dir.in_use:
        stack = Stack.attach(run_dir)
        console.print(f"Using the running system at {stack.api}")
        yield stack
        return

    choose_gateway(run_dir)
    os.environ["FREE_PRODUCTS"] = "on"  # the demo sells one
    console.print("Starting PostgreSQL, Valkey, the workers, the API and beat")

    with running_stack(
        run_dir, notify=lambda news: console.print(escape(news), style="yellow")
    ) as stack:
        yield stack


def _payments(stack: Stack) -> str:
    """Describe the payment gateway."""
    if stack.sandbox:
        return (
            f"Payments use Stripe's client and a sandbox at {stack.sandbox} instead of Stripe. "
            f"No money moves."
        )

    return f"Payments use the gateway {GATEWAY}={stack.env[GATEWAY]}."


def _play(console: Console, stack: Stack) -> DemoRun:
    with progress_of(console) as listener:
        run = DemoRun(stack, listener)
        run.create_users_and_products()
        run.place_orders()
        run.wait_for_the_end()
        run.return_orders()

    return run


def _audit(stack: Stack, *, width: int) -> subprocess.CompletedProcess[str]:
    """Check the invariants; repeat for QUIET_SECONDS, while the last messages are processed."""
    for _ in poll(QUIET_SECONDS, pause=1):
        done = stack.manage("audit", COLUMNS=str(width), LOG_LEVEL="WARNING")
        if done.returncode == 0:
            break

    return done


def _farewell(stack: Stack) -> str:
    up = (
        "The system keeps running" if stack.run_dir.in_use else "`make run` starts the system again"
    )
    return f"""
{up}, with these orders:
  API    {stack.api}/api/v1/orders/
  Docs   {stack.api}/api/v1/docs/
  Admin  {stack.api}/admin/
"""


def _verdict(*, good: bool, seconds: float) -> str:
    if good:
        return (
            f"[bold green]PASSED in {seconds:.0f} s: "
            f"every order and return ended as expected, and every invariant holds."
        )

    return (
        f"[bold red]FAILED after {seconds:.0f} s: "
        f"an order or return did not end as expected, or an invariant is violated. See above."
    )
