"""The simulated gateway, but for orders of a certain amount each charge waits for as long as a
test holds a lock.
"""

import os
from collections.abc import Sequence

from django.db import connections, transaction

from payments.gateways.base import ChargeAnswer, ChargeRequest
from payments.gateways.simulated import SimulatedGateway

__all__ = ["AFTER", "BEFORE", "LOCK", "WaitingGateway"]

# Minor units: the charge waits before the money is taken, or between that and the answer.
BEFORE = 2_000
AFTER = 3_000

LOCK = 4_711


class WaitingGateway(SimulatedGateway):
    """Slow where a test wants it so."""

    def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Charge, and wait before or after it."""
        amounts = {request.amount for request in requests}
        if BEFORE in amounts:
            _wait()

        answers = super().charge(requests)
        if AFTER in amounts:
            _wait()

        return answers


def _wait() -> None:
    """Wait for the lock without a limit; the session's name tells a test which process it is."""
    with (
        transaction.atomic(using="payments", durable=True),
        connections["payments"].cursor() as cursor,
    ):
        cursor.execute("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
        cursor.execute(
            "SELECT set_config('application_name', %s, true)", [f"process {os.getpid()}"]
        )
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LOCK])
