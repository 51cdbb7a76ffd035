"""Run probes at the same time, each within a time limit. No probe can hang or stop another."""

import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import kombu.exceptions
from django.db import Error, connections
from redis.exceptions import RedisError

from doctor.findings import Finding, Job, Options, unknown
from doctor.registry import Probe

__all__ = ["LIMIT", "Report", "run"]

# Seconds for each job. Connecting to a database takes at most five.
LIMIT = 10.0

SERVER_ERRORS = (Error, RedisError, kombu.exceptions.OperationalError, OSError)


class Report(NamedTuple):
    """The findings of one probe."""

    probe: str
    findings: list[Finding]


class _Running(threading.Thread):
    """A job in a thread of its own, with its own connections."""

    def __init__(self, job: Job) -> None:
        super().__init__(name=f"doctor {job.subject}", daemon=True)
        self.job = job
        self.findings: list[Finding] = []
        self.start()

    def run(self) -> None:
        try:
            self.findings = list(self.job.run())
        except SERVER_ERRORS as error:
            self.findings = [unknown(f"{self.job.subject}: no answer: {one_line(error)}")]
        except Exception as error:
            self.findings = [unknown(f"{self.job.subject}: the probe failed: {error!r}")]
        finally:
            connections.close_all()

    def result(self, deadline: float) -> list[Finding]:
        """Return the findings, or after the deadline that there are none."""
        self.join(max(0.0, deadline - time.monotonic()))
        if self.is_alive():
            return [unknown(f"{self.job.subject}: no answer within {LIMIT:.0f} s")]
        return self.findings


def run(probes: Sequence[Probe], options: Options) -> list[Report]:
    """Run probes; return their findings in the same order, after at most `LIMIT` seconds."""
    deadline = time.monotonic() + LIMIT
    running = [(one.name, [_Running(job) for job in one.jobs(options)]) for one in probes]
    return [
        Report(name, [finding for job in jobs for finding in job.result(deadline)])
        for name, jobs in running
    ]


def one_line(error: BaseException) -> str:
    """Return the text of an error in one line without a full stop, or its class."""
    return " ".join(str(error).split()).rstrip(". ") or type(error).__name__
