"""Automatic holds: while a step or an outside system is at fault, one saga at a time tries it, and
the first answer releases the hold.

`sagas.execution.blame` places such a hold in the transaction that records the failures. Everything
else happens here, in rounds that beat starts. Two rounds at once send no second probe, because the
hold's row is locked. After the release, `sagas.operations.holds.resume` sends the held rows.
"""

import logging
from collections.abc import Sequence

from django.db import transaction

from sagas.definition.hold_scope import HoldScope
from sagas.definition.plan import service_name
from sagas.delivery import relay
from sagas.delivery.task_signatures import task_signature
from sagas.storage import automatic_holds, call_limits, faults, hold_probes
from sagas.storage.automatic_holds import NotedHold
from sagas.storage.registry import Service

__all__ = ["note_holds", "run_once"]

logger = logging.getLogger(__name__)

# The reason in a home's copy. The service of the step has the error.
COPY_REASON = "On hold by itself, because it fails for several sagas."


def run_once(service: Service) -> None:
    """Release the automatic holds that a probe has proven, send the next probes, and tell the homes
    of the waiting sagas. Raises while the broker is down.
    """
    faults.purge(service)
    call_limits.purge(service)
    if not automatic_holds.in_force(service):
        return

    noted = automatic_holds.homes(service)
    released = _release(service)
    for scope in released:
        logger.warning("%s is released: a probe was answered, or no saga waits there.", scope)
    _tell_homes(service, noted)
    probes = hold_probes.send_probes(service)
    if probes:
        relay.flush(service)
    for scope, saga in probes.items():
        logger.info("Saga %s tries %s, which is on hold by itself.", saga, scope)


def note_holds(home: Service, service: str, steps: Sequence[str]) -> None:
    """Note at a home which steps of another service are on an automatic hold.

    The copies count for a minute, unless the service repeats them. They only keep the sagas that
    wait there from being re-driven. A message about the home's own steps, or about steps of a third
    service, is ignored.
    """
    if service == home.name or any(service_name(step) != service for step in steps):
        logger.warning("Ignored a message about holds of %r at %r: %r", service, home.name, steps)
        return
    automatic_holds.note_copies(home, steps, why=COPY_REASON)


def _release(service: Service) -> list[HoldScope]:
    """Release holds. The sagas that failed at a step or destination that has answered are no new
    evidence.

    The sagas of a destination that has not answered put it on hold again at once, uncounted.
    """
    with transaction.atomic(using=service.alias):
        released = hold_probes.release_proven(service)
        if released:
            faults.age_after_success(service, [scope for each in released for scope in each.proven])
    return [each.scope for each in released]


def _tell_homes(service: Service, noted: Sequence[NotedHold]) -> None:
    steps_by_home: dict[str, list[str]] = {}
    for step, home in noted:
        if home and home != service.name:
            steps_by_home.setdefault(home, []).append(step)

    for home, steps in steps_by_home.items():
        task_signature("note_holds", home, service.name, steps, queue=home).apply_async()
