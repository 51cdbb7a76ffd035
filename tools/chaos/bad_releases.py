"""Break the system as a bad release does, for some seconds, and mend it."""

import time
from collections.abc import Sequence
from typing import TypeVar

import psycopg

from services import SERVICES
from tools.chaos.database_faults import DATABASE_FAULTS, DatabaseFault, run_until_done
from tools.chaos.episodes import EpisodeFailed
from tools.chaos.extra_worker import SETTINGS, ExtraWorker, LogWatch, within
from tools.chaos.fault_schedule import STEP, Episode
from tools.local.stack import Stack

__all__ = ["NOT_MET", "BadReleases"]

T = TypeVar("T")

OLDER = "tools.chaos.releases.older"
# The steps that an older worker may not know: actions before and after the pivot, an undo, and the
# steps of a return.
UNKNOWN_STEPS = (
    "payments.charge",
    "payments.refund",
    "payments.refund_part",
    "inventory.reserve",
    "inventory.ship",
    "orders.fulfil",
)
PUT_BACK = "No process of this service knows the step"

# Seconds. An episode lasts so much longer until a saga meets it. Workers that were killed, or that
# start beside much other load, take a while to come to the step.
MEETING_SECONDS = 30.0
NOT_MET = ", and no saga met it"


class BadReleases:
    """Runs the episodes that are bad releases."""

    def __init__(self, stack: Stack) -> None:
        """Break `stack`."""
        self._stack = stack
        self._variables = {service.name: service.variable for service in SERVICES}

    def run(self, episode: Episode) -> str:
        """Run an episode; return a title for it. Raises EpisodeFailed if it is not mended."""
        if episode.kind == STEP:
            step = _chosen(UNKNOWN_STEPS, episode)
            return self._with_older_worker(step, episode.seconds)
        return self._with_broken_database(
            _chosen(DATABASE_FAULTS[episode.kind], episode), episode.seconds
        )

    def _with_older_worker(self, step: str, seconds: float) -> str:
        service = step.partition(".")[0]
        worker = ExtraWorker(
            self._stack,
            service,
            name=f"older-{service}",
            **{SETTINGS: OLDER, "CHAOS_UNKNOWN_STEP": step},
        )
        met = LogWatch(worker.log)
        with worker.running():
            is_met = _lasts(seconds, met, PUT_BACK)
        return _title(f"a worker does not know {step}", is_met=is_met)

    def _with_broken_database(self, fault: DatabaseFault, seconds: float) -> str:
        url = self._stack.env[self._variables[fault.service]]
        met = LogWatch(self._stack.run_dir.log(f"worker-{fault.service}"))
        try:
            run_until_done(url, fault.breaks)
            is_met = _lasts(seconds, met, fault.shows)
        except psycopg.Error as error:
            raise EpisodeFailed(f"{fault.title}: it did not begin: {error}") from error
        finally:
            _mend(url, fault)
        return _title(fault.title, is_met=is_met)


def _mend(url: str, fault: DatabaseFault) -> None:
    try:
        run_until_done(url, fault.mends)
    except psycopg.Error as error:
        raise EpisodeFailed(f"{fault.title}: it was not mended: {error}") from error


def _chosen(targets: Sequence[T], episode: Episode) -> T:
    return targets[int(episode.choice * len(targets))]


def _lasts(seconds: float, log: LogWatch, shows: str) -> bool:
    """Wait for some seconds, and then until a saga has met the fault; tell whether one has."""
    time.sleep(seconds)
    return within(MEETING_SECONDS, lambda: log.matches(shows))


def _title(title: str, *, is_met: bool) -> str:
    return title if is_met else title + NOT_MET
