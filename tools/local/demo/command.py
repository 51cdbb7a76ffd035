"""`python -m tools.local demo`: on a system of its own, or on the one that is up already."""

import contextlib
import subprocess
import time
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from tools.local.demo.report import progress_of, show_open_orders, show_outcomes, show_timelines
from tools.local.demo.story import Story
from tools.local.gateway import GATEWAY, choose_gateway
from tools.local.processes import moments
from tools.local.rundir import RunDir
from tools.local.stack import Stack, running_stack

__all__ = ["demo"]

# What the last order leaves to do, as marking a message sent, ends within moments.
QUIET_SECONDS = 20.0
NARROWEST = 120


def demo() -> int:
    """Play the demo; return 0 if every order ended as it must and every invariant holds, else 1."""
    console = _console()
    started = time.monotonic()
    with _stack(console) as stack:
        console.print(_payments(stack), style="cyan", highlight=False)
        story = _play(console, stack)
        show_outcomes(console, story)
        show_open_orders(console, story)
        show_timelines(console, story)
        audit = _audit(stack, width=console.width)
        print(audit.stdout, audit.stderr, sep="", flush=True)
    console.print(escape(_farewell(stack)), highlight=False)
    good = story.as_expected and not story.open_orders and audit.returncode == 0
    console.print(_verdict(good=good, seconds=time.monotonic() - started))
    return 0 if good else 1


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, NARROWEST))


@contextlib.contextmanager
def _stack(console: Console) -> Iterator[Stack]:
    """Give the system that is up in the run directory, or start one for as long as the demo goes
    on.
    """
    run_dir = RunDir()
    if run_dir.in_use:
        stack = Stack.attach(run_dir)
        console.print(f"Using the system that is up at {stack.api}")
        yield stack
        return
    choose_gateway(run_dir)
    console.print("Starting PostgreSQL, Valkey, three workers, the API and beat")
    with running_stack(
        run_dir, say=lambda news: console.print(escape(news), style="yellow")
    ) as stack:
        yield stack


def _payments(stack: Stack) -> str:
    """Say who is paid, and that it is no money."""
    if stack.sandbox:
        return f"Paying through Stripe's client, at the sandbox in place of Stripe: {stack.sandbox}. No money moves."
    return f"Paying through {GATEWAY}={stack.env[GATEWAY]}"


def _play(console: Console, stack: Stack) -> Story:
    with progress_of(console) as watcher:
        story = Story(stack, watcher)
        story.open_shop()
        story.place_orders()
        story.wait_for_the_end()
    return story


def _audit(stack: Stack, *, width: int) -> subprocess.CompletedProcess[str]:
    """Check the invariants, again while the last messages settle: they hold once things are
    quiet.
    """
    for _ in moments(QUIET_SECONDS, pause=1):
        done = stack.manage("audit", COLUMNS=str(width), LOG_LEVEL="WARNING")
        if done.returncode == 0:
            break
    return done


def _farewell(stack: Stack) -> str:
    up = "The system stays up" if stack.run_dir.in_use else "`make run` keeps the system up"
    return f"""
{up}, with these orders in it:
  API    {stack.api}/api/v1/orders/
  Docs   {stack.api}/api/v1/docs/
  Admin  {stack.api}/admin/
"""


def _verdict(*, good: bool, seconds: float) -> str:
    if good:
        return (
            f"[bold green]Every order ended as it must, and every invariant holds. {seconds:.0f} s."
        )
    return f"[bold red]Something is not as it must be: see above. {seconds:.0f} s."
