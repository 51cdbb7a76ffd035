"""The simulated gateway, in which charges of certain amounts wait for a lock of the test."""

import os
from collections.abc import Sequence

from django.db import connections, transaction

from payments.gateways.base import ChargeAnswer, ChargeRequest
from payments.gateways.simulated import SimulatedGateway

__all__ = ["AFTER", "BEFORE", "LOCK", "WaitingGateway"]

# Minor units. A charge of BEFORE waits before the capture. A charge of AFTER waits after it.
BEFORE = 2_000
AFTER = 3_000

LOCK = 4_711


class WaitingGateway(SimulatedGateway):
    """A gateway that waits before or after charges of certain amounts."""

    def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Charge orders, and wait before or after the charge."""
        amounts = {request.amount for request in requests}
        if BEFORE in amounts:
            _wait()

        answers = super().charge(requests)
        if AFTER in amounts:
            _wait()

        return answers


def _wait() -> None:
    """Wait for the lock without a limit. The session's name has the process id for the test."""
    with (
        transaction.atomic(using="payments", durable=True),
        connections["payments"].cursor() as cursor,
    ):
        cursor.execute("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
        cursor.execute(
            "SELECT set_config('application_name', %s, true)", [f"process {os.getpid()}"]
        )
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LOCK])
