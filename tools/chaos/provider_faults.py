"""Make the payment sandbox fail for a while. Only PAYMENT_GATEWAY=stripe starts a sandbox."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

__all__ = ["provider_faults"]

# Percentage of requests, and of webhooks, that get each fault.
OF_REQUESTS: Mapping[str, int] = {
    "500_done": 3,
    "500_lost": 3,
    "reset_done": 3,
    "reset_lost": 3,
    "timeout_done": 1,
    "timeout_lost": 1,
    "slow": 3,
    "429": 2,
    "409": 2,
}
# Errors that the provider keeps for the key of a call, although no money has moved.
OF_INTENTS: Mapping[str, int] = {"500_saved": 3}
OF_REFUNDS: Mapping[str, int] = {"500_saved": 4, "400_saved": 2, "balance_insufficient": 4}
OF_WEBHOOKS: Mapping[str, int] = {
    "drop": 20,
    "duplicate": 20,
    "delay": 20,
    "forge": 10,
    "shift": 10,
}


@contextlib.contextmanager
def provider_faults(sandbox: str | None, *, seed: int) -> Iterator[None]:
    """Inject faults at the sandbox while the context lasts; do nothing without a sandbox."""
    if sandbox is None:
        yield
        return

    with httpx.Client(base_url=sandbox, trust_env=False, timeout=30) as control:
        for rule in _rules(seed):
            control.post("/sandbox/faults", json=rule).raise_for_status()

        try:
            yield
        finally:
            control.delete("/sandbox/faults").raise_for_status()


def _rules(seed: int) -> Iterator[dict[str, Any]]:
    for operation, faults in (
        ("payment_intents.*", OF_REQUESTS),
        ("payment_intents.*", OF_INTENTS),
        ("refunds.*", OF_REQUESTS),
        ("refunds.create", OF_REFUNDS),
        ("webhooks.*", OF_WEBHOOKS),
    ):
        for number, (fault, share) in enumerate(faults.items()):
            rule = {
                "operation": operation,
                "fault": fault,
                "times": None,
                "probability": share / 100,
            }
            yield rule | {"seed": seed + number}
