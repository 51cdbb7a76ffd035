"""Checks of the policies of the registered steps."""

from collections.abc import Iterator
from math import isfinite
from typing import Any

from sagas.checks.findings import Finding
from sagas.definition import handlers
from sagas.definition.policy import Policy

__all__ = ["findings"]


def findings() -> Iterator[Finding]:
    """Yield the wrong values in the policy of each step."""
    for step in handlers.names():
        for fault in _faults(step, handlers.policy_of(step)):
            yield Finding(
                "sagas.E034",
                f"The policy of step {step!r} has {fault}.",
                "Correct the argument where the step is registered, or leave it out.",
            )


def _faults(step: str, policy: Policy) -> Iterator[str]:
    for name in ("tries", "most_in_batch"):
        value = getattr(policy, name)
        if value is not None and not (_is_whole(value) and value >= 1):
            yield f"{name}={value!r}, but it must be a whole number above 0"

    first, longest = policy.backoff.first, policy.backoff.longest
    if not (_is_number(first) and _is_number(longest) and 0 <= first <= longest):
        yield f"{policy.backoff!r}, but 0 <= first <= longest must hold"

    if policy.budget is None:
        return
    if not handlers.is_external(step):
        yield f"budget={policy.budget!r}, but only an ExternalStep makes calls"
    elif not (_is_number(policy.budget) and policy.budget > 0):
        yield f"budget={policy.budget!r}, but it must be seconds above 0"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
