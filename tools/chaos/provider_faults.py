"""Make the payment sandbox fail for a while. Only PAYMENT_GATEWAY=stripe starts a sandbox."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tools.local.sandbox_control import ERROR, HANG, SLOW, SandboxControl

__all__ = ["DEFAULT", "ProviderBehaviour", "provider_faults"]

# Longer than the client waits for an answer.
HANG_SECONDS = 20.0

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


@dataclass(frozen=True, kw_only=True)
class ProviderBehaviour:
    """How the provider behaves beside its faults.

    `call_ms`: milliseconds that a call without a fault takes longer. `hanging` and `errors`:
    percentages of the calls that hang for HANG_SECONDS, or are answered 500.
    """

    call_ms: int = 0
    hanging: float = 0.0
    errors: float = 0.0


DEFAULT = ProviderBehaviour()


@contextlib.contextmanager
def provider_faults(
    sandbox: str | None, *, seed: int, behaviour: ProviderBehaviour = DEFAULT
) -> Iterator[None]:
    """Inject faults at the sandbox while the context lasts; do nothing without a sandbox."""
    if sandbox is None:
        yield
        return

    with SandboxControl(sandbox) as control:
        for rule in (*_rules(seed), *_rules_of(behaviour, seed)):
            control.add_fault(**rule)

        try:
            yield
        finally:
            control.recover()


def _rules(seed: int) -> Iterator[dict[str, Any]]:
    for operation, faults in (
        ("payment_intents.*", OF_REQUESTS),
        ("payment_intents.*", OF_INTENTS),
        ("refunds.*", OF_REQUESTS),
        ("refunds.create", OF_REFUNDS),
        ("webhooks.*", OF_WEBHOOKS),
    ):
        for number, (fault, share) in enumerate(faults.items()):
            yield {
                "operation": operation,
                "fault": fault,
                "probability": share / 100,
                "seed": seed + number,
            }


def _rules_of(behaviour: ProviderBehaviour, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the rules of a behaviour. The last one is for all calls that have no fault."""
    if behaviour.errors:
        yield {"fault": ERROR, "probability": behaviour.errors / 100, "seed": seed}
    if behaviour.hanging:
        share = behaviour.hanging / 100
        yield {
            "fault": HANG,
            "probability": share,
            "seconds": HANG_SECONDS,
            "seed": seed + 1,
        }
    if behaviour.call_ms:
        yield {"fault": SLOW, "seconds": behaviour.call_ms / 1000, "seed": seed}
