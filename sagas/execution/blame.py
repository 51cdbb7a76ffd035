"""Decides whose fault a failure is: the saga's, the step's, the provider's or the process's.

Only a fault of its own may cost a saga: it counts towards SAGA_STEP_ATTEMPTS. The error alone shows
some faults of a step, for example a missing column (`sagas.execution.error_blame`). Any other fault
shows by its evidence (`sagas.storage.faults`):

- The step, or the destination of the call, is on an automatic hold: the saga waits at the hold.
- Several sagas fail alike and none succeeds: nothing is counted. After two seconds the step goes on
  hold, and the sagas wait there.
- Many sagas fail alike and others succeed: the saga tries again later, and nothing is counted.
- Anything else: the attempt counts against the saga.

If an outside system gives no answer, and the destination of the call is known, the destination is
at fault. Then only failures and successes of calls to it count, and only calls to it go on hold. If
sagas fail at several destinations, and the step succeeds at none, the whole step goes on hold.

A fault of the step itself, an unknown step, and an unknown answer to a wait never count, even if
only one saga meets them.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID, uuid5

from sagas import backoff
from sagas.definition.hold_scope import HoldScope
from sagas.execution.error_blame import Blame
from sagas.observability.error_pattern import normalize
from sagas.storage import automatic_holds, faults, hold_probes
from sagas.storage.automatic_holds import AutomaticHold
from sagas.storage.faults import Evidence, EvidenceKey, FaultRow
from sagas.storage.registry import Service

__all__ = ["OWN", "StepFailure", "Verdict", "judge"]

logger = logging.getLogger(__name__)

# A step goes on hold after this time in which it fails and never succeeds, or at once after this
# number of sagas. An unknown step is probably known to newer workers, so the time is longer.
QUIET_SECONDS = 2.0
QUIET_SECONDS_OF_RELEASE = 60.0
SAGAS_AT_ONCE = 10

# The sagas that must fail alike to blame the step: for errors that show its fault, and for others.
SAGAS_OF_STEP = 1
SAGAS_ALIKE = 2

# The destinations that must fail, beside those on hold, to blame the whole step.
DESTINATIONS_ALIKE = 2

# Beside others that succeed, this number of sagas that fail alike is no accident, if at least this
# share of the step's newest sagas fails.
SAGAS_BESIDE_SUCCESS = 5
SHARE_BESIDE_SUCCESS = 0.2

# Seconds until a saga tries again after a fault that is not its own. The pauses grow up to a limit.
# The limit is low where the next attempt is as likely to succeed as any: a provider that fails half
# of the calls is protected by its limit of calls at once, and in a rolling deployment the next
# worker may be of the release that knows the step.
SHORTEST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
LONGEST_PAUSES = {"provider": 5.0, "release": 5.0}

# The length of an error that is kept as evidence, and that a hold shows.
ERROR_LENGTH = 500

# Any fixed UUID. It keeps the ids of evidence apart from other ids.
NAMESPACE = UUID("8a8f6f1c-4a5e-4b0e-9d53-0c7a9f6f3f57")

REASONS: Mapping[str, str] = {
    Blame.SAGA: "It fails alike for several sagas, and for none it succeeds",
    Blame.STEP: "Its code does not fit its database or its release",
    Blame.RELEASE: "No running release knows it",
    Blame.PROVIDER: "The outside system does not answer",
    Blame.PROCESS: "Its processes are lost",
}


class StepFailure(NamedTuple):
    """A failure to judge.

    `beside_success`: the step succeeded for others in the same run: at the destination at fault, if
    there is one. `step_succeeded`: it did so at any destination. `isolated`: the saga failed alone.
    Otherwise it only waits at a hold, and is no evidence. `destination`: the outside system of the
    call, empty if there was none, or it is not known.
    """

    saga: UUID
    error: str
    blame: Blame
    beside_success: bool = False
    step_succeeded: bool = False
    isolated: bool = True
    destination: str = ""

    @property
    def destination_at_fault(self) -> str:
        """The destination, if it gives no answer; else empty, because the call is not at fault."""
        return self.destination if self.blame is Blame.PROVIDER else ""

    @property
    def pattern(self) -> UUID:
        """The same for all errors that look alike. Missing answers of a provider always do."""
        alike = "" if self.blame is Blame.PROVIDER else normalize(self.error[:ERROR_LENGTH])
        return uuid5(NAMESPACE, f"{self.blame}\n{alike}".encode(errors="replace").decode())


class Verdict(NamedTuple):
    """The consequence of a failure.

    `counts`: it is the saga's own, and counts as an attempt. Otherwise the saga waits at a hold of
    the step, or of its calls to a `destination`, or it tries again after a `pause` in seconds.
    """

    counts: bool = False
    on_hold: bool = False
    pause: float = 0.0
    destination: str = ""


OWN = Verdict(counts=True)
AT_HOLD = Verdict(on_hold=True)


def judge(service: Service, step: str, failures: Sequence[StepFailure]) -> dict[UUID, Verdict]:
    """Judge failures of a step by their evidence. Put the step, or a destination, on hold if it is
    at fault.

    Runs inside the caller's transaction, after the inbox rows are locked. Return a verdict for each
    saga.
    """
    if not failures:
        return {}

    evident = [failure for failure in failures if failure.isolated]
    ids = {failure.saga: _evidence_id(step, failure) for failure in evident}
    faults.record(service, step, [_fault_row(failure, ids) for failure in evident])

    calls = {failure.saga: failure.destination for failure in failures}
    holds = automatic_holds.of_calls(service, step, calls)
    verdicts = _at_holds(holds, failures)
    others = [failure for failure in failures if failure.saga not in verdicts]
    requested = {(failure.pattern, failure.destination_at_fault) for failure in others}
    weighed = faults.weigh(service, step, requested) if requested else {}
    verdicts |= {failure.saga: _verdict(failure, weighed) for failure in others}
    verdicts |= _put_on_hold(service, step, others, verdicts)
    _end_probes(service, step, holds, failures, verdicts)

    shared = [ids[saga] for saga, verdict in verdicts.items() if not verdict.counts and saga in ids]
    if shared:
        faults.mark_shared(service, sorted(shared))
    return verdicts


def _evidence_id(step: str, failure: StepFailure) -> UUID:
    """Return the id of the evidence. A saga may fail at one destination after the other."""
    name = " ".join(filter(None, (step, str(failure.saga), failure.destination_at_fault)))
    return uuid5(failure.pattern, name)


def _at_holds(
    holds: Sequence[AutomaticHold], failures: Sequence[StepFailure]
) -> dict[UUID, Verdict]:
    """Return the verdicts of the sagas that wait at an automatic hold: of the step, of their
    destination, or the hold that they probe. A probe waits again after any failure.
    """
    if any(not hold.destination for hold in holds):
        return dict.fromkeys((failure.saga for failure in failures), AT_HOLD)

    destinations = {hold.destination for hold in holds}
    probed = {hold.probe: hold.destination for hold in holds if hold.probe}
    found = {}
    for failure in failures:
        if failure.destination in destinations:
            found[failure.saga] = AT_HOLD._replace(destination=failure.destination)
        elif failure.saga in probed:
            found[failure.saga] = AT_HOLD._replace(destination=probed[failure.saga])
    return found


def _end_probes(
    service: Service,
    step: str,
    holds: Sequence[AutomaticHold],
    failures: Sequence[StepFailure],
    verdicts: Mapping[UUID, Verdict],
) -> None:
    """End the probes of destinations whose saga waits at another destination from now on, also if
    it waits at a hold of the step.
    """
    probes = {hold.probe: hold.destination for hold in holds if hold.destination}
    moved = {}
    for failure in failures:
        verdict = verdicts[failure.saga]
        destination = verdict.destination or failure.destination
        is_known = verdict.on_hold and destination
        if is_known and probes.get(failure.saga, destination) != destination:
            moved[failure.saga] = destination
    if moved:
        hold_probes.end_probes(service, step, moved)


def _fault_row(failure: StepFailure, ids: Mapping[UUID, UUID]) -> FaultRow:
    return FaultRow(
        id=ids[failure.saga],
        pattern=failure.pattern,
        saga=failure.saga,
        blame=failure.blame,
        error=failure.error[:ERROR_LENGTH],
        beside_success=failure.beside_success,
        destination=failure.destination_at_fault,
    )


def _verdict(failure: StepFailure, weighed: Mapping[EvidenceKey, Evidence]) -> Verdict:
    destination = failure.destination_at_fault
    evidence = weighed.get((failure.pattern, destination))
    if not failure.isolated or evidence is None:
        return OWN
    if _is_down(failure.blame, evidence) and not failure.beside_success:
        return AT_HOLD._replace(destination=destination)

    found = [evidence]
    of_step = weighed.get((failure.pattern, None))
    # A destination that has succeeded meanwhile has no part in the failures at the others.
    if of_step and evidence.new_sagas and of_step.destinations >= DESTINATIONS_ALIKE:
        are_alike = of_step.new_destinations >= DESTINATIONS_ALIKE
        if are_alike and _is_down(failure.blame, of_step) and not failure.step_succeeded:
            return AT_HOLD
        found.append(of_step)

    shows_other = failure.blame in {Blame.STEP, Blame.RELEASE}
    is_shared = any(each.new_sagas >= SAGAS_ALIKE or _is_widespread(each) for each in found)
    if shows_other or is_shared:
        longest = LONGEST_PAUSES.get(failure.blame, LONGEST_PAUSE)
        pause = min(max(evidence.seconds, SHORTEST_PAUSE), longest)
        return Verdict(pause=backoff.jittered(pause))
    return OWN


def _is_down(blame: Blame, evidence: Evidence) -> bool:
    """Tell whether the step fails for every saga since its last success."""
    if blame is Blame.RELEASE:
        return evidence.new_sagas > 0 and evidence.quiet_seconds >= QUIET_SECONDS_OF_RELEASE

    enough = SAGAS_OF_STEP if blame is Blame.STEP else SAGAS_ALIKE
    is_quiet = evidence.new_sagas >= enough and evidence.quiet_seconds >= QUIET_SECONDS
    return is_quiet or evidence.new_sagas >= SAGAS_AT_ONCE


def _is_widespread(evidence: Evidence) -> bool:
    """Tell whether a large share of the sagas fails alike, while others succeed."""
    return evidence.sagas >= SAGAS_BESIDE_SUCCESS and evidence.failing >= SHARE_BESIDE_SUCCESS


def _put_on_hold(
    service: Service,
    step: str,
    failures: Sequence[StepFailure],
    verdicts: Mapping[UUID, Verdict],
) -> dict[UUID, Verdict]:
    """Place the holds that the verdicts ask for; return the verdicts of all sagas that wait there.

    A hold of the whole step covers every destination. The holds are placed in the order of their
    names, because another process may place the same ones at this moment.
    """
    by_destination: dict[str, StepFailure] = {}
    for failure in failures:
        verdict = verdicts[failure.saga]
        if verdict.on_hold:
            by_destination[verdict.destination] = failure
    if "" in by_destination:
        by_destination = {"": by_destination[""]}

    for destination, failure in sorted(by_destination.items()):
        _place(service, HoldScope(step, destination), failure)
    return {
        failure.saga: AT_HOLD._replace(destination=destination)
        for destination in by_destination
        for failure in failures
        if not destination or failure.destination == destination
    }


def _place(service: Service, scope: HoldScope, failure: StepFailure) -> None:
    why = f"{REASONS[failure.blame]}: {normalize(failure.error[:ERROR_LENGTH])}"
    if automatic_holds.place(service, scope, why=why):
        logger.error(
            "%s is on hold by itself: its sagas wait, and one at a time tries it. %s. "
            "Mend the cause; the hold is released when a saga succeeds.",
            scope,
            why,
        )
