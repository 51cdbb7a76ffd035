"""Faults at the seams of a process: it dies there, or it freezes while other processes go on.

A seam is a place between two transactions. The real function runs there, inside a wrapper.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import pytest

from payments.gateways.base import ChargeRequest, RefundRequest
from payments.gateways.simulated import SimulatedGateway

__all__ = ["Crash", "Faults", "Seam"]


class Seam(Enum):
    """A place between two transactions of a process."""

    BEFORE_GATEWAY = "intent committed, gateway not called"
    AFTER_GATEWAY = "gateway called, answer not recorded"
    BEFORE_SENDING = "committed, nothing sent"
    BEFORE_MARKING = "sent, not marked as sent"


class Crash(BaseException):
    """The process is killed, so no code of it can handle this."""


class Faults:
    """The faults that wait for a process to reach a seam. Each happens once."""

    def __init__(self) -> None:
        self.armed: dict[Seam, Callable[[], None]] = {}

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Wrap the seams of the real code, and turn off the flush thread: the test flushes."""
        from sagas.delivery import publisher  # noqa: PLC0415  the functions of this moment
        from sagas.storage import outbox  # noqa: PLC0415  the functions of this moment

        patch.setattr("sagas.lifecycle.request_flush", lambda _: None)
        patch.setattr("payments.gateway_requests.get_gateway", lambda _: Gateway(self))
        patch.setattr(
            "sagas.delivery.publisher.publish", self._before(Seam.BEFORE_SENDING, publisher.publish)
        )
        patch.setattr(
            "sagas.storage.outbox.mark_published",
            self._before(Seam.BEFORE_MARKING, outbox.mark_published),
        )

    def reach(self, seam: Seam) -> None:
        """Trigger the fault that is armed for this seam."""
        self.armed.pop(seam, lambda: None)()

    def _before(self, seam: Seam, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(service: Any, envelopes: Sequence[Any], **options: Any) -> Any:
            if envelopes:
                self.reach(seam)
            return function(service, envelopes, **options)

        return wrapped


class Gateway(SimulatedGateway):
    """The simulated gateway, with a seam before and after each call."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    def charge(self, requests: Sequence[ChargeRequest]) -> list[Any]:
        """Charge, between two seams."""
        return self._between(super().charge, requests)

    def authorize(self, requests: Sequence[ChargeRequest]) -> list[Any]:
        """Authorize, between two seams."""
        return self._between(super().authorize, requests)

    def capture(self, requests: Sequence[ChargeRequest]) -> list[Any]:
        """Capture, between two seams."""
        return self._between(super().capture, requests)

    def find(self, requests: Sequence[ChargeRequest]) -> list[Any]:
        """Look up, between two seams."""
        return self._between(super().find, requests)

    def void(self, requests: Sequence[ChargeRequest]) -> list[Any]:
        """Bar, between two seams."""
        return self._between(super().void, requests)

    def refund(self, requests: Sequence[RefundRequest]) -> list[Any]:
        """Give back, between two seams."""
        return self._between(super().refund, requests)

    def _between(self, ask: Callable[..., list[Any]], requests: Sequence[Any]) -> list[Any]:
        self.faults.reach(Seam.BEFORE_GATEWAY)
        answers = ask(requests)
        self.faults.reach(Seam.AFTER_GATEWAY)
        return answers
