"""Check the models of an order's two sagas with SPIN, and show that each protection is needed.

    python docs/model/run.py               the same as `make model`
    python docs/model/run.py --thorough    more faults at once; takes minutes and some gigabytes

The exit code is 0 only if every property holds, and if a property fails without each protection.
README.md describes the models and their limits.
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

# Limits of one search: the length of a path, and the seconds. All searches stay far below them.
DEPTH = 2_000_000
LIMIT = 1_800

SAFETY, LIVENESS = 0, 1
NAMED = re.compile(r"/\* \[([\w.]+)\]\s*(.*?)\s*\*/|/\* (fault: .*?) \*/")
TRAIL_STEP = re.compile(r"proc\s+(\d+) \([^)]*\) \w+\.pml:(\d+) \(state (\d+)\)")
CYCLE = "START OF CYCLE"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One search of a model.

    `without` names the protections that this search removes, and `held_by` the function that
    implements them. A search that `must_fail` has to find a counter-example.
    """

    title: str
    model: str = CHARGE_FIRST
    mode: int = SAFETY
    options: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    held_by: str = ""
    must_fail: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a search: the number of states, and the steps to an error if there is one."""

    states: int
    failed: bool
    complete: bool
    seconds: float
    trace: tuple[str, ...] = ()


class ModelError(Exception):
    """The model could not be checked. The message says what to do."""


def _without(
    title: str,
    *without: str,
    held_by: str,
    mode: int = SAFETY,
    model: str = CHARGE_FIRST,
    options: tuple[str, ...] = (),
) -> Check:
    return Check(
        title=title,
        model=model,
        mode=mode,
        options=options,
        without=without,
        held_by=held_by,
        must_fail=True,
    )


def _reaches(title: str, probe: int, model: str = CHARGE_FIRST) -> Check:
    return Check(title=title, model=model, options=(f"PROBE={probe}",), must_fail=True)


HOLDING = (
    *(
        Check(
            title=f"Safe in every state, {workers} payment workers", options=(f"WORKERS={workers}",)
        )
        for workers in (2, 3, 4)
    ),
    Check(title="Safe if only the status bars the pivot", without=("NO_PIVOT_TOMBSTONE",)),
    Check(title="Safe if only the tombstone bars the pivot", without=("NO_STATUS_CHECK",)),
    Check(
        title="Every order ends: a fault of each kind, two crashes",
        mode=LIVENESS,
        options=("CRASHES=2",),
    ),
    *(
        Check(
            title=f"Authorize first: safe in every state, {workers} workers",
            model=AUTHORIZE_FIRST,
            options=(f"WORKERS={workers}",),
        )
        for workers in (2, 3)
    ),
    Check(
        title="Authorize first: every order ends",
        model=AUTHORIZE_FIRST,
        mode=LIVENESS,
        options=("TAKES=0", "DUPS=0"),
    ),
)
THOROUGH = (
    Check(title="Every order ends: two losses", mode=LIVENESS, options=("LOSSES=2",)),
    Check(
        title="Every order ends: a re-drive that comes too early",
        mode=LIVENESS,
        options=("EARLY=1",),
    ),
)
REACHABLE = (
    _reaches("An order is fulfilled and shipped, and ends", 1),
    _reaches("An order is cancelled, refunded, and its stock released", 2),
    _reaches("A charge is voided before it starts", 3),
    _reaches("A charge without a recorded answer is refunded", 4),
    _reaches("Authorize first: fulfilled and shipped, and ends", 1, AUTHORIZE_FIRST),
    _reaches("Authorize first: cancelled in time, and voided", 2, AUTHORIZE_FIRST),
    _reaches("Authorize first: the cancel comes too late", 3, AUTHORIZE_FIRST),
    _reaches("Authorize first: it expires before the capture", 4, AUTHORIZE_FIRST),
)
PROTECTIONS = (
    _without(
        "The inbox ignores a repeated message", "NO_INBOX", held_by="sagas.storage.inbox.claim"
    ),
    _without("An undo bars its action", "NO_TOMBSTONE", held_by="sagas.storage.inbox.bar"),
    _without(
        "A cancel bars the pivot, and fulfil checks the status",
        "NO_PIVOT_TOMBSTONE",
        "NO_STATUS_CHECK",
        held_by="sagas.lifecycle.cancel_before_pivot",
    ),
    _without(
        "The fence: an unused key is voided", "NO_FENCE", held_by="payments.steps.Refund.call"
    ),
    _without(
        "A refund asks the gateway, not the payments table",
        "NO_ASK",
        held_by="payments.steps.Refund.call",
    ),
    _without(
        "Only open inbox rows take an answer", "NO_CAS", held_by="sagas.storage.inbox.lock_open"
    ),
    _without(
        "A step that is given up is undone first",
        "NO_OWN_UNDO",
        held_by="sagas.definition.plan.Plan.after_giving_up",
    ),
    _without(
        "The failure callback does not change final rows",
        "CB_BLIND",
        held_by="sagas.storage.inbox.count_failures",
    ),
    _without(
        "A step after the pivot is never given up",
        "CB_POSTPIVOT",
        held_by="sagas.definition.plan.Plan.refusable",
    ),
    _without(
        "An undo is never given up", "CB_UNDO", held_by="sagas.execution.retry_policy.is_exhausted"
    ),
    _without(
        "The watermark: a purged step is not run again",
        "NO_WATERMARK",
        held_by="sagas.storage.inbox.park",
    ),
    _without(
        "The re-drive resumes stalled orders",
        "NO_RESCUE",
        held_by="sagas.operations.redrive.run_once",
        mode=LIVENESS,
    ),
    _without(
        "Open inbox rows are sent again",
        "NO_DUE",
        held_by="sagas.storage.inbox.claim_due",
        mode=LIVENESS,
    ),
    _without(
        "A lost answer is looked up instead of charging again",
        "NO_FIND",
        held_by="payments.steps.Charge.call",
        mode=LIVENESS,
    ),
    _without(
        "Rows of open sagas are not purged",
        "PURGE_TIP",
        held_by="sagas.operations.retention.broadcast",
        mode=LIVENESS,
    ),
    _without(
        "An order has ended only when `ended_at` is set",
        "RESCUE_UNTIL_STATUS",
        held_by="sagas.storage.timeline.record",
        mode=LIVENESS,
    ),
    _without(
        "The re-drive sends all rows again, not an old one",
        "RESCUE_OLD_ROWS",
        held_by="sagas.storage.outbox.republish",
        mode=LIVENESS,
    ),
    _without(
        "The re-drive covers all services, not only orders",
        "RESCUE_ORDERS_ONLY",
        held_by="sagas.operations.redrive.republish",
        mode=LIVENESS,
    ),
    _without(
        "Authorize first: a cancel asks the pivot's service",
        "NO_REQUEST",
        held_by="sagas.lifecycle.request_cancel",
        model=AUTHORIZE_FIRST,
    ),
    _without(
        "Authorize first: a cancel in time bars the capture",
        "NO_BAR",
        held_by="sagas.storage.inbox.bar",
        model=AUTHORIZE_FIRST,
    ),
    _without(
        "Authorize first: a started capture is waited for",
        "NO_PATIENCE",
        held_by="sagas.definition.handlers.bar",
        model=AUTHORIZE_FIRST,
    ),
    _without(
        "Authorize first: a capture is never given up",
        "CB_PIVOT",
        held_by="sagas.execution.retry_policy.is_exhausted",
        model=AUTHORIZE_FIRST,
    ),
    _without(
        "Authorize first: the fence, an unused key is voided",
        "NO_FENCE",
        held_by="payments.steps.Void.call",
        model=AUTHORIZE_FIRST,
    ),
    _without(
        "Authorize first: an order cancelled too late is fulfilled",
        "NO_LATE_FULFIL",
        held_by="orders.steps.fulfil",
        mode=LIVENESS,
        model=AUTHORIZE_FIRST,
        options=("TAKES=0", "DUPS=0", "ERRS=0", "UNKS=0", "CRASHES=0"),
    ),
    _without(
        "Authorize first: the re-drive resumes stalled orders",
        "NO_RESCUE",
        held_by="sagas.operations.redrive.run_once",
        mode=LIVENESS,
        model=AUTHORIZE_FIRST,
        options=("TAKES=0", "DUPS=0"),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all searches, print the results, and return the exit code."""
    parser = argparse.ArgumentParser(description="Check the models of an order's sagas with SPIN.")
    parser.add_argument(
        "--thorough",
        action="store_true",
        help="more faults at once; takes minutes and some gigabytes",
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
        # The longest searches start first. The output follows the order of the tables.
        running = {
            check: pool.submit(_search, check)
            for check in reversed([*PROTECTIONS, *REACHABLE, *holding])
        }
        as_expected = [
            _show_table("Properties that must hold", holding, running),
            _show_table(
                "Outcomes that must be reachable (otherwise the model proves nothing)",
                REACHABLE,
                running,
            ),
            _show_protections(running),
        ]

    seconds = time.monotonic() - started
    if all(as_expected):
        _print(f"\nPASSED: all {len(running)} searches ended as expected, in {seconds:.0f} s.")
        return 0

    _print(f"\nFAILED: a search did not end as expected. See above. {seconds:.0f} s.")
    return 1


def _show_table(
    title: str, checks: Sequence[Check], running: dict[Check, "Future[Outcome]"]
) -> bool:
    _print(f"\n{title}")
    found = [(check, running[check].result()) for check in checks]
    for check, outcome in found:
        _print(
            f"  {check.title:<52} {_verdict(check, outcome):<22} "
            f"{outcome.states:>9,} states {outcome.seconds:5.1f} s"
        )

    return all(_as_expected(check, outcome) for check, outcome in found)


def _show_protections(running: dict[Check, "Future[Outcome]"]) -> bool:
    _print(
        "\nProtections: without each of them, this sequence violates a property "
        "(the shortest one, or an endless one)"
    )
    found = [(check, running[check].result()) for check in PROTECTIONS]
    for check, outcome in found:
        _print(f"\n  {check.title}")
        _print(f"  in {check.held_by}, removed with -D{' -D'.join(check.without)}")
        _print(f"  {_verdict(check, outcome)}, {outcome.states:,} states, {outcome.seconds:.1f} s")
        _print(
            textwrap.fill(
                " → ".join(outcome.trace), 112, initial_indent="    ", subsequent_indent="    "
            )
        )

    return all(_as_expected(check, outcome) for check, outcome in found)


def _as_expected(check: Check, outcome: Outcome) -> bool:
    return outcome.failed == check.must_fail and (outcome.failed or outcome.complete)


def _verdict(check: Check, outcome: Outcome) -> str:
    if not outcome.failed:
        good = "holds" if outcome.complete else "SEARCH NOT COMPLETE"
        return f"NO COUNTER-EXAMPLE FOUND ({good})" if check.must_fail else good

    found = "reached" if check in REACHABLE else "counter-example"
    return found if check.must_fail else f"VIOLATED: {' → '.join(outcome.trace)}"


def _search(check: Check) -> Outcome:
    """Generate, compile and run the checker of one search in a temporary directory."""
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        shutil.copy(FOLDER / check.model, folder)
        defines = [f"-D{name}" for name in (f"MODE={check.mode}", *check.options, *check.without)]
        _tool(folder, "spin", *defines, "-a", check.model)
        _tool(folder, "gcc", *_compiler_options(check), "-o", "pan", "pan.c")
        output = _tool(
            folder, "./pan", f"-m{DEPTH}", "-w22", *(["-a"] if check.mode == LIVENESS else [])
        )
        errors, states = (
            re.search(r"errors: (\d+)", output),
            re.search(r"(\d+) states, stored", output),
        )
        if not errors or not states:
            raise ModelError(f"The search {check.title!r} did not finish:\n{output}")

        failed = int(errors[1]) > 0
        trail = _tool(folder, "spin", *defines, "-t", "-p", check.model) if failed else ""
        return Outcome(
            states=int(states[1]),
            failed=failed,
            complete="not completed" not in output and "too small" not in output,
            seconds=time.monotonic() - started,
            trace=tuple(_trace(check.model, trail)),
        )


def _compiler_options(check: Check) -> list[str]:
    if check.mode == LIVENESS:
        return ["-O1" if check.must_fail else "-O2"]
    # Breadth-first search finds the shortest counter-example.
    return ["-O1", "-DSAFETY", "-DBFS"] if check.must_fail else ["-O2", "-DSAFETY"]


def _trace(model: str, trail: str) -> Iterator[str]:
    """Yield the names of the transitions in a trail.

    The line of the model that starts a transition has its name in a comment.
    """
    names = _names(model)
    begins: dict[str, str] = {}

    for line in trail.splitlines():
        if CYCLE in line:
            yield "AND SO ON FOREVER"

        step = TRAIL_STEP.search(line)
        if step and step[2] in names and begins.setdefault(step[2], step[3]) == step[3]:
            yield names[step[2]]


def _names(model: str) -> dict[str, str]:
    """Map line numbers to the names of transitions: the app and its function."""
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
            "\n".join([*missing, "Only `make model` needs it. The service and its tests do not."])
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
