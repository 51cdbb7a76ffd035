"""The payment sandbox, where PAYMENT_GATEWAY=stripe has one: told to misbehave for a while, and
to stop then.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

__all__ = ["misbehaving"]

# Of every hundred requests, how many meet which fault; of every hundred webhooks likewise. For
# ever.
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
OF_WEBHOOKS: Mapping[str, int] = {
    "drop": 20,
    "duplicate": 20,
    "delay": 20,
    "forge": 10,
    "shift": 10,
}


@contextlib.contextmanager
def misbehaving(sandbox: str | None, *, seed: int) -> Iterator[None]:
    """Let the sandbox at an address misbehave as long as the context lasts. Does nothing where
    there is none.
    """
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
        ("refunds.*", OF_REQUESTS),
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
