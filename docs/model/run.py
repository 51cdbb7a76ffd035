"""Check the models with SPIN; show that each protection is needed.

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
CHARGE_FIRST, AUTHORIZE_FIRST, CLAIMS = "saga.pml", "authorize_first.pml", "claims.pml"
HOLDS, RETENTION = "holds.pml", "retention.pml"
OPTIONAL, WAITS, CHILDREN = "optional.pml", "waits.pml", "children.pml"
PARALLEL, DESTINATIONS = "parallel.pml", "destinations.pml"
TOOLS = {
    "spin": "Debian, Ubuntu: apt-get install spin. macOS: brew install spin. Else: https://spinroot.com",
    "gcc": "Debian, Ubuntu: apt-get install gcc. macOS: xcode-select --install",
}

# Limits of one search: the length of a path, and the seconds. All searches stay far below them.
DEPTH = 2_000_000
LIMIT = 1_800

SAFETY, LIVENESS = 0, 1

# Options with which a search in holds.pml or destinations.pml ends within seconds.
FEW_FAULTS = ("LOSSES=0", "DUPS=0", "CRASHES=0", "CANCELS=0")
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
    Check(title="Claims: three runs of one step, safe in every state", model=CLAIMS),
    Check(
        title="Claims: the step of a lost worker goes on without the lease",
        model=CLAIMS,
        options=("GOES_ON",),
    ),
    Check(title="Holds: three orders at one step, safe, and every order ends", model=HOLDS),
    Check(
        title="Destinations: two outside systems of one step, safe, and every order ends",
        model=DESTINATIONS,
        options=("LOSSES=0", "DUPS=0"),
    ),
    Check(title="Optional step: one outcome, and the saga ends", model=OPTIONAL),
    Check(title="Parallel: two branches and their join, safe, and it ends", model=PARALLEL),
    Check(title="Waits: two senders, an expiry and a cancel, safe, and it ends", model=WAITS),
    Check(title="Children: one child, its end, a cancel, safe, and it ends", model=CHILDREN),
    Check(title="Retention: lists late, repeated and in any order, one forged", model=RETENTION),
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
    _reaches("Claims: the answer of a freed claim is recorded", 1, CLAIMS),
    _reaches("Claims: given up after failures of its own", 2, CLAIMS),
    _reaches("Holds: released by an answer, and every order ends", 1, HOLDS),
    _reaches("Holds: a bad order is given up", 2, HOLDS),
    _reaches("Destinations: one goes on hold beside a success of the other", 1, DESTINATIONS),
    _reaches("Destinations: an order ends while the other destination is on hold", 2, DESTINATIONS),
    _reaches("Destinations: a destination and the whole step are on hold", 3, DESTINATIONS),
    _reaches("Optional step: skipped, and the saga goes on", 1, OPTIONAL),
    _reaches("Optional step: done after a failed try", 2, OPTIONAL),
    _reaches("Parallel: both branches arrive, and the join runs", 1, PARALLEL),
    _reaches("Parallel: both branches refuse, and one compensation follows", 2, PARALLEL),
    _reaches("Parallel: a refusal overtakes the other branch, which never begins", 3, PARALLEL),
    _reaches("Parallel: a cancel overtakes the second arrival", 4, PARALLEL),
    _reaches("Parallel: a loss is made good, and the join runs", 5, PARALLEL),
    _reaches("Waits: an early signal, so the saga never waits", 1, WAITS),
    _reaches("Waits: a signal in time is seen after the expiry", 2, WAITS),
    _reaches("Waits: it expires", 3, WAITS),
    _reaches("Waits: a cancel overtakes a signal", 4, WAITS),
    _reaches("Children: the child is done, and the parent goes on", 1, CHILDREN),
    _reaches("Children: the child is done, and is undone", 2, CHILDREN),
    _reaches("Children: the cancel comes before the child's pivot", 3, CHILDREN),
    _reaches("Children: the undo comes first, so no child starts", 4, CHILDREN),
    _reaches("Retention: deleted, and a late message is parked", 1, RETENTION),
    _reaches("Retention: an open saga is kept behind the watermark", 2, RETENTION),
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
    *(
        _without(f"Parallel: {title}", name, held_by=held_by, model=PARALLEL)
        for title, name, held_by in (
            ("an arrival is a row, not a count", "NO_ROWS", "sagas.storage.arrivals.record"),
            ("the join waits for all branches", "NO_ALL", "sagas.execution.joining.gather"),
            (
                "an arrival is committed before the others are read",
                "NO_READ_AFTER",
                "sagas.execution.joining.gather",
            ),
            ("the join runs once", "NO_JOIN_INBOX", "sagas.storage.inbox.claim"),
            (
                "the fork is sent once all its messages are",
                "NO_WHOLE_FORK",
                "sagas.delivery.publisher.publish",
            ),
            (
                "a refusal undoes the whole group",
                "NO_WHOLE_GROUP",
                "sagas.definition.plan.Plan.after_refusal",
            ),
            ("an undo bars its branch", "NO_TOMBSTONE", "sagas.storage.inbox.bar"),
            ("two refusals are undone once", "NO_UNDO_INBOX", "sagas.storage.inbox.claim"),
            (
                "a cancel bars the join",
                "NO_PIVOT_TOMBSTONE",
                "sagas.lifecycle.cancel_before_pivot",
            ),
            ("the re-drive makes a loss good", "NO_RESCUE", "sagas.operations.redrive.republish"),
        )
    ),
    _without(
        "Waits: the signal is in the inbox row of the wait",
        "NO_ONE_ROW",
        held_by="sagas.storage.signals.begin",
        model=WAITS,
    ),
    _without(
        "Waits: a signal has the wait sent at once",
        "NO_WAKE",
        held_by="sagas.storage.signals.add",
        model=WAITS,
    ),
    _without(
        "Waits: the message takes over the row of an early signal",
        "NO_TAKE_OVER",
        held_by="sagas.storage.inbox.claim",
        model=WAITS,
    ),
    _without(
        "Waits: the first signal counts",
        "NO_FIRST",
        held_by="sagas.storage.signals.add",
        model=WAITS,
    ),
    _without(
        "Waits: a signal after the expiry is not taken",
        "NO_EXPIRY_CHECK",
        held_by="sagas.storage.signals.add",
        model=WAITS,
    ),
    _without(
        "Waits: a wait that is over takes no signal",
        "NO_FINAL_CHECK",
        held_by="sagas.storage.signals.add",
        model=WAITS,
    ),
    _without(
        "Waits: a signal in time counts before the expiry",
        "NO_SIGNAL_FIRST",
        held_by="sagas.definition.handlers.wait",
        model=WAITS,
    ),
    _without(
        "Waits: the inbox ignores a repeated message",
        "NO_INBOX",
        held_by="sagas.storage.inbox.claim",
        model=WAITS,
    ),
    _without(
        "Waits: a cancel closes the wait at once",
        "NO_CLOSE",
        held_by="sagas.lifecycle.cancel_before_pivot",
        model=WAITS,
    ),
    _without(
        "Waits: the undo of a wait bars it",
        "NO_BAR",
        held_by="sagas.storage.inbox.bar",
        model=WAITS,
    ),
    *(
        _without(f"Children: {title}", name, held_by=held_by, model=CHILDREN)
        for title, name, held_by in (
            (
                "the id of a child follows from its step",
                "NO_ID",
                "sagas.definition.child_rules.child_id",
            ),
            (
                "the claim and the start are one transaction",
                "NO_STARTING_TRANSACTION",
                "sagas.children.go_on",
            ),
            ("the end is read from the claimed row", "NO_ONE_ROW", "sagas.children.go_on"),
            (
                "the end and its note are one transaction",
                "NO_END_TRANSACTION",
                "sagas.storage.children.note_ends",
            ),
            (
                "a barred step is told of the end, for its undo",
                "NO_SIGNAL_AFTER_BAR",
                "sagas.storage.children.note_ends",
            ),
            (
                "the end has the undo sent at once",
                "NO_WAKE_OF_UNDO",
                "sagas.storage.children.note_ends",
            ),
            ("the undo bars the step first", "NO_BAR", "sagas.execution.compensation.bar_action"),
            ("the undo waits for the end of the child", "NO_PATIENCE", "sagas.children.close"),
            ("a child that was done is undone", "NO_UNDO_OF_ENDED", "sagas.children.close"),
        )
    ),
    _without(
        "Claims: a failure counts only under its own claim",
        "NO_TOKEN_FOR_REPORTS",
        held_by="sagas.storage.inbox.count_failures",
        model=CLAIMS,
    ),
    _without(
        "Claims: the report of a lost process spares a living session",
        "NO_SESSION_FOR_REPORTS",
        held_by="sagas.storage.inbox.count_failures",
        model=CLAIMS,
    ),
    _without(
        "Claims: an answer that decides nothing counts only under its own claim",
        "NO_TOKEN_FOR_WAITS",
        held_by="sagas.storage.inbox.record_results",
        model=CLAIMS,
    ),
    _without(
        "Claims: a definite answer counts, whichever run asked",
        "NO_ANSWER_OF_OTHERS",
        held_by="sagas.storage.inbox.lock_open",
        model=CLAIMS,
    ),
    _without(
        "Claims: only the claim that was found lost is freed",
        "NO_TOKEN_FOR_FREEING",
        held_by="sagas.storage.inbox.free_lost",
        model=CLAIMS,
    ),
    _without(
        "Claims: a lost process is no failure of the step",
        "NO_LOSSES",
        held_by="sagas.execution.claiming.claim",
        model=CLAIMS,
    ),
    _without(
        "Claims: the claim of a lost session is freed",
        "NO_FREE",
        held_by="sagas.storage.inbox.free_lost",
        model=CLAIMS,
        options=("GOES_ON",),
    ),
    *(
        _without(f"Holds: {title}", name, held_by=held_by, model=HOLDS, options=FEW_FAULTS)
        for title, name, held_by in (
            ("a fault of the step counts for no order", "NO_BLAME", "sagas.execution.blame.judge"),
            (
                "a message of a step on hold waits",
                "NO_HOLD_AT_CLAIM",
                "sagas.execution.claiming.claim",
            ),
            (
                "a failed probe waits at the hold again",
                "NO_HELD_AGAIN",
                "sagas.execution.blame.judge",
            ),
            (
                "one probe at a time",
                "NO_SINGLE_PROBE",
                "sagas.storage.hold_probes.send_probes",
            ),
            ("the orders take turns", "NO_TURNS", "sagas.storage.hold_probes.send_probes"),
            (
                "failures before a success are no new evidence",
                "NO_SUCCESS",
                "sagas.storage.faults.weigh",
            ),
            (
                "failures before a release are no new evidence",
                "NO_AGEING",
                "sagas.storage.faults.age_after_success",
            ),
        )
    ),
    _without(
        "Holds: a hold at which no order waits is released",
        "NO_RELEASE_OF_EMPTY",
        held_by="sagas.storage.hold_probes.release_proven",
        model=HOLDS,
        options=("LOSSES=0", "DUPS=0", "CRASHES=0"),
    ),
    *(
        _without(
            f"Destinations: {title}",
            *names.split(),
            held_by=held_by,
            model=DESTINATIONS,
            options=FEW_FAULTS,
        )
        for title, names, held_by in (
            (
                "a hold of one destination stops no call to another",
                "NO_SCOPE",
                "sagas.execution.held_calls.calls_on_hold",
            ),
            (
                "the prepared request names the destination, and no stored one",
                "NO_PREPARE_FIRST",
                "sagas.execution.held_calls.calls_on_hold",
            ),
            (
                "a destination is judged by its own failures",
                "NO_OWN_EVIDENCE",
                "sagas.storage.faults.weigh",
            ),
            (
                "a destination is judged by its own successes",
                "NO_OWN_SUCCESS",
                "sagas.storage.faults.weigh",
            ),
            (
                "a destination on hold is no evidence against the step",
                "NO_LEAVING_OUT",
                "sagas.storage.faults.weigh",
            ),
            (
                "one probe at a time",
                "NO_SINGLE_PROBE NO_WAIT_FOR_CALL",
                "sagas.storage.hold_probes.send_probes",
            ),
            (
                "the step waits for the probes of its destinations",
                "NO_WAIT_FOR_DESTINATIONS NO_WAIT_FOR_CALL",
                "sagas.storage.hold_probes.send_probes",
            ),
            (
                "the probe of the step passes the holds of destinations",
                "NO_PASS_OF_STEP",
                "sagas.execution.held_calls.calls_on_hold",
            ),
            (
                "a probe notes the destination on hold that it calls",
                "NO_NOTE",
                "sagas.storage.hold_probes.begin_calls",
            ),
            (
                "a probe waits for the end of a call to its destination",
                "NO_WAIT_FOR_CALL",
                "sagas.storage.hold_probes.begin_calls",
            ),
        )
    ),
    *(
        _without(f"Optional step: {title}", name, held_by=held_by, model=OPTIONAL)
        for title, name, held_by in (
            (
                "an answer after the skip is discarded",
                "NO_OPEN_FOR_ANSWERS",
                "sagas.storage.inbox.lock_open",
            ),
            (
                "a failure that is reported after the end counts no more",
                "NO_OPEN_FOR_REPORTS",
                "sagas.storage.inbox.count_failures",
            ),
            (
                "a message after the skip does not run the step",
                "NO_REFUSAL_OF_COPIES",
                "sagas.storage.inbox.claim",
            ),
            (
                "a step that never succeeds is skipped",
                "NO_SKIP",
                "sagas.execution.retry_policy.is_skipped",
            ),
        )
    ),
    *(
        _without(
            f"Retention: {title}",
            name,
            held_by="sagas.operations.retention.purge",
            model=RETENTION,
        )
        for title, name in (
            ("a list that is not newer changes nothing", "NO_ORDER"),
            ("no list moves the watermark beyond the service's own age", "NO_HORIZON"),
            ("the lists have come for a day before the watermark moves", "NO_PATIENCE"),
            ("a listed saga is kept for a day", "NO_MEMORY"),
            ("after a silence every listed saga is kept", "NO_MEMORY_OF_A_GAP"),
            ("a saga is listed a day before it reaches the age", "NO_NOTICE"),
            ("the watermark passes a saga before its rows are deleted", "NO_MARK_FIRST"),
        )
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
