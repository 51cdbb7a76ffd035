"""Check the models of an order's two sagas with SPIN: that they hold, and that each protection in
them is needed.

    python docs/model/run.py               what `make model` runs
    python docs/model/run.py --thorough    with more faults at once; minutes, and some gigabytes

Exits 0 only if every check that must hold holds, and every check without a protection fails.
README.md lists the limits of the model.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["HOLDING", "PROTECTIONS", "REACHABLE", "THOROUGH", "Check", "main"]

FOLDER = Path(__file__).resolve().parent
CHARGE_FIRST, AUTHORIZE_FIRST = "saga.pml", "authorize_first.pml"
TOOLS = {
    "spin": "Debian, Ubuntu: apt-get install spin. macOS: brew install spin. Else: https://spinroot.com",
    "gcc": "Debian, Ubuntu: apt-get install gcc. macOS: xcode-select --install",
}

# Longest path to follow, and seconds for one search: far above what any search needs.
DEPTH = 2_000_000
LIMIT = 1_800

SAFETY, LIVENESS = 0, 1
NAMED = re.compile(r"/\* \[([\w.]+)\]\s*(.*?)\s*\*/|/\* (fault: .*?) \*/")
TRAIL_STEP = re.compile(r"proc\s+(\d+) \([^)]*\) \w+\.pml:(\d+) \(state (\d+)\)")
CYCLE = "START OF CYCLE"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One search of a model. `held_by` is the function behind the protection that `without`
    removes; without one, the model must hold.
    """

    says: str
    model: str = CHARGE_FIRST
    mode: int = SAFETY
    options: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    held_by: str = ""
    fails: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a search: an error with the steps that lead to it, or none in `states` states."""

    states: int
    failed: bool
    complete: bool
    seconds: float
    story: tuple[str, ...] = ()


class ModelError(Exception):
    """The model could not be checked. The text names the cause and the remedy."""


def _without(
    says: str,
    *without: str,
    held_by: str,
    mode: int = SAFETY,
    model: str = CHARGE_FIRST,
    options: tuple[str, ...] = (),
) -> Check:
    return Check(
        says=says,
        model=model,
        mode=mode,
        options=options,
        without=without,
        held_by=held_by,
        fails=True,
    )


def _reaches(says: str, probe: int, model: str = CHARGE_FIRST) -> Check:
    return Check(says=says, model=model, options=(f"PROBE={probe}",), fails=True)


HOLDING = (
    *(
        Check(
            says=f"Safe in every state, {workers} payment workers", options=(f"WORKERS={workers}",)
        )
        for workers in (2, 3, 4)
    ),
    Check(says="Safe where only the status bars the pivot", without=("NO_PIVOT_TOMBSTONE",)),
    Check(says="Safe where only the tombstone bars the pivot", without=("NO_STATUS_CHECK",)),
    Check(
        says="Every order ends: a fault of each kind, two crashes",
        mode=LIVENESS,
        options=("CRASHES=2",),
    ),
    *(
        Check(
            says=f"Authorize first: safe in every state, {workers} workers",
            model=AUTHORIZE_FIRST,
            options=(f"WORKERS={workers}",),
        )
        for workers in (2, 3)
    ),
    Check(
        says="Authorize first: every order ends",
        model=AUTHORIZE_FIRST,
        mode=LIVENESS,
        options=("TAKES=0", "DUPS=0"),
    ),
)
THOROUGH = (
    Check(says="Every order ends: two losses", mode=LIVENESS, options=("LOSSES=2",)),
    Check(
        says="Every order ends: a re-drive that comes too early",
        mode=LIVENESS,
        options=("EARLY=1",),
    ),
)
REACHABLE = (
    _reaches("An order is fulfilled and shipped, and has ended", 1),
    _reaches("An order is cancelled, refunded and released", 2),
    _reaches("A charge is voided before it began", 3),
    _reaches("A charge that was never recorded is refunded", 4),
    _reaches("Authorize first: fulfilled, shipped, ended", 1, AUTHORIZE_FIRST),
    _reaches("Authorize first: cancelled in time, and voided", 2, AUTHORIZE_FIRST),
    _reaches("Authorize first: the cancel comes too late", 3, AUTHORIZE_FIRST),
    _reaches("Authorize first: it expires before the capture", 4, AUTHORIZE_FIRST),
)
PROTECTIONS = (
    _without(
        "the inbox: a repeated message has no effect",
        "NO_INBOX",
        held_by="sagas.storage.inbox.claim",
    ),
    _without("an undo bars its action", "NO_TOMBSTONE", held_by="sagas.storage.inbox.bar"),
    _without(
        "a cancel bars the pivot, and fulfil checks the status",
        "NO_PIVOT_TOMBSTONE",
        "NO_STATUS_CHECK",
        held_by="sagas.lifecycle.cancel_before_pivot",
    ),
    _without(
        "the fence: an unused key is voided", "NO_FENCE", held_by="payments.steps.Refund.call"
    ),
    _without(
        "a refund asks the gateway, not its own table",
        "NO_ASK",
        held_by="payments.steps.Refund.call",
    ),
    _without("only open rows accept an answer", "NO_CAS", held_by="sagas.storage.inbox.lock_open"),
    _without(
        "a step that is given up is itself undone first",
        "NO_OWN_UNDO",
        held_by="sagas.definition.plan.Plan.after_giving_up",
    ),
    _without(
        "the callback leaves final rows alone",
        "CB_BLIND",
        held_by="sagas.storage.inbox.count_failures",
    ),
    _without(
        "no step after the pivot is given up",
        "CB_POSTPIVOT",
        held_by="sagas.definition.plan.Plan.refusable",
    ),
    _without("no undo is given up", "CB_UNDO", held_by="sagas.execution.retry_policy.is_exhausted"),
    _without(
        "the watermark: a purged saga is not run",
        "NO_WATERMARK",
        held_by="sagas.storage.inbox.park",
    ),
    _without(
        "the re-drive", "NO_RESCUE", held_by="sagas.operations.redrive.run_once", mode=LIVENESS
    ),
    _without(
        "open rows are sent again", "NO_DUE", held_by="sagas.storage.inbox.claim_due", mode=LIVENESS
    ),
    _without(
        "a lost answer is looked up, not charged for again",
        "NO_FIND",
        held_by="payments.steps.Charge.call",
        mode=LIVENESS,
    ),
    _without(
        "open sagas are not purged",
        "PURGE_TIP",
        held_by="sagas.operations.retention.broadcast",
        mode=LIVENESS,
    ),
    _without(
        "the end of a saga is not a status",
        "RESCUE_UNTIL_STATUS",
        held_by="sagas.storage.timeline.record",
        mode=LIVENESS,
    ),
    _without(
        "all rows are sent again, not only an old one",
        "RESCUE_OLD_ROWS",
        held_by="sagas.storage.outbox.republish",
        mode=LIVENESS,
    ),
    _without(
        "rows are sent again in all services, not only in orders",
        "RESCUE_ORDERS_ONLY",
        held_by="sagas.operations.redrive.republish",
        mode=LIVENESS,
    ),
    _without(
        "authorize first: a cancel asks the service of the pivot",
        "NO_REQUEST",
        held_by="sagas.lifecycle.request_cancel",
        model=AUTHORIZE_FIRST,
    ),
    _without(
        "authorize first: a cancel in time bars the capture",
        "NO_BAR",
        held_by="sagas.storage.inbox.bar",
        model=AUTHORIZE_FIRST,
    ),
    _without(
        "authorize first: a cancel waits for a capture that has begun",
        "NO_PATIENCE",
        held_by="sagas.definition.handlers.bar",
        model=AUTHORIZE_FIRST,
    ),
    _without(
        "authorize first: a capture is not given up",
        "CB_PIVOT",
        held_by="sagas.execution.retry_policy.is_exhausted",
        model=AUTHORIZE_FIRST,
    ),
    _without(
        "authorize first: the fence: an unused key is voided",
        "NO_FENCE",
        held_by="payments.steps.Void.call",
        model=AUTHORIZE_FIRST,
    ),
    _without(
        "authorize first: an order cancelled too late is fulfilled",
        "NO_LATE_FULFIL",
        held_by="orders.steps.fulfil",
        mode=LIVENESS,
        model=AUTHORIZE_FIRST,
        options=("TAKES=0", "DUPS=0", "ERRS=0", "UNKS=0", "CRASHES=0"),
    ),
    _without(
        "authorize first: the re-drive",
        "NO_RESCUE",
        held_by="sagas.operations.redrive.run_once",
        mode=LIVENESS,
        model=AUTHORIZE_FIRST,
        options=("TAKES=0", "DUPS=0"),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all checks, print their results, and return the exit code."""
    parser = argparse.ArgumentParser(description="Check the model of an order's saga.")
    parser.add_argument(
        "--thorough", action="store_true", help="more faults at once: minutes, and some gigabytes"
    )
    options = parser.parse_args(arguments)
    try:
        _require_tools()
        return _run([*HOLDING, *(THOROUGH if options.thorough else ())])
    except ModelError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _run(holding: Sequence[Check]) -> int:
    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        # Start the longest searches first. The results are shown in the order of the tables.
        running = {
            check: pool.submit(_search, check)
            for check in reversed([*PROTECTIONS, *REACHABLE, *holding])
        }
        as_said = [
            _show_table("Must hold", holding, running),
            _show_table(
                "Must be reachable (otherwise the model proves nothing)", REACHABLE, running
            ),
            _show_protections(running),
        ]
    _print(f"\n{len(running)} searches in {time.monotonic() - started:.0f} s: ", end="")
    _print("all as expected." if all(as_said) else "NOT all as expected, see above.")
    return 0 if all(as_said) else 1


def _show_table(
    title: str, checks: Sequence[Check], running: dict[Check, "Future[Outcome]"]
) -> bool:
    _print(f"\n{title}")
    found = [(check, running[check].result()) for check in checks]
    for check, outcome in found:
        _print(
            f"  {check.says:<52} {_verdict(check, outcome):<22} {outcome.states:>9,} states {outcome.seconds:5.1f} s"
        )
    return all(_as_expected(check, outcome) for check, outcome in found)


def _show_protections(running: dict[Check, "Future[Outcome]"]) -> bool:
    _print(
        "\nWhat goes wrong without each protection: the shortest sequence, or one that never ends"
    )
    found = [(check, running[check].result()) for check in PROTECTIONS]
    for check, outcome in found:
        _print(f"\n  {check.says}  [{check.held_by}]  -D{' -D'.join(check.without)}")
        _print(f"  {_verdict(check, outcome)}, {outcome.states:,} states, {outcome.seconds:.1f} s")
        _print(
            textwrap.fill(
                " → ".join(outcome.story), 112, initial_indent="    ", subsequent_indent="    "
            )
        )
    return all(_as_expected(check, outcome) for check, outcome in found)


def _as_expected(check: Check, outcome: Outcome) -> bool:
    return outcome.failed == check.fails and (outcome.failed or outcome.complete)


def _verdict(check: Check, outcome: Outcome) -> str:
    if not outcome.failed:
        good = "holds" if outcome.complete else "SEARCH NOT COMPLETE"
        return f"NO COUNTER-EXAMPLE ({good})" if check.fails else good
    found = "reached" if check in REACHABLE else "counter-example"
    return found if check.fails else f"VIOLATED: {' → '.join(outcome.story)}"


def _search(check: Check) -> Outcome:
    """Generate, compile and run the checker of one search, in a temporary directory."""
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        shutil.copy(FOLDER / check.model, folder)
        defines = [f"-D{name}" for name in (f"MODE={check.mode}", *check.options, *check.without)]
        _tool(folder, "spin", *defines, "-a", check.model)
        _tool(folder, "gcc", *_compiler_options(check), "-o", "pan", "pan.c")
        said = _tool(
            folder, "./pan", f"-m{DEPTH}", "-w22", *(["-a"] if check.mode == LIVENESS else [])
        )
        errors, states = re.search(r"errors: (\d+)", said), re.search(r"(\d+) states, stored", said)
        if not errors or not states:
            raise ModelError(f"The search of {check.says!r} did not finish:\n{said}")
        failed = int(errors[1]) > 0
        trail = _tool(folder, "spin", *defines, "-t", "-p", check.model) if failed else ""
        return Outcome(
            states=int(states[1]),
            failed=failed,
            complete="not completed" not in said and "too small" not in said,
            seconds=time.monotonic() - started,
            story=tuple(_story(check.model, trail)),
        )


def _compiler_options(check: Check) -> list[str]:
    if check.mode == LIVENESS:
        return ["-O1" if check.fails else "-O2"]
    # Breadth first if an error is expected, because it finds the shortest sequence.
    return ["-O1", "-DSAFETY", "-DBFS"] if check.fails else ["-O2", "-DSAFETY"]


def _story(model: str, trail: str) -> Iterator[str]:
    """Yield the names of the transitions of a trail. Each line of the model that begins a
    transition names it.
    """
    names = _names(model)
    begins: dict[str, str] = {}
    for line in trail.splitlines():
        if CYCLE in line:
            yield "AND SO ON FOR EVER"
        step = TRAIL_STEP.search(line)
        if step and step[2] in names and begins.setdefault(step[2], step[3]) == step[3]:
            yield names[step[2]]


def _names(model: str) -> dict[str, str]:
    """Return the name of each transition, app and function, by its line number."""
    lines = enumerate((FOLDER / model).read_text().splitlines(), start=1)
    return {str(number): _short(found) for number, line in lines if (found := NAMED.search(line))}


def _short(found: re.Match[str]) -> str:
    function, remark, fault = found.groups()
    if fault:
        return str(fault).removeprefix("fault: ").upper()
    app, _, *name = function.split(".")
    return f"{app}.{'.'.join(name)}{f' ({remark})' if remark else ''}"


def _require_tools() -> None:
    missing = [
        f"{tool} is not installed. {how}"
        for tool, how in TOOLS.items()
        if shutil.which(tool) is None
    ]
    if missing:
        raise ModelError(
            "\n".join([*missing, "Only `make model` needs it; the service and its tests do not."])
        )


def _tool(folder: str, *command: str) -> str:
    done = subprocess.run(  # noqa: S603
        command, cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    if done.returncode and command[0] != "./pan":
        raise ModelError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def _print(text: str, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
