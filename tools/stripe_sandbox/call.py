"""A call of the API: its parameters, its store and its faults."""

from dataclasses import dataclass, field

from tools.stripe_sandbox.fault_rules import Fault
from tools.stripe_sandbox.forms import Form
from tools.stripe_sandbox.store import Store

__all__ = ["Call"]


@dataclass(kw_only=True)
class Call:
    """A call inside its transaction. `request` is None for a settlement, which no client called."""

    store: Store
    form: Form = field(default_factory=lambda: Form({}))
    request: str | None = None
    key: str | None = None
    origin: str = ""  # the sandbox's own address, for links into it
    invisible_after: float | None = None  # a stale search does not find newer objects
    fault: Fault | None = None  # the fault that a payment method demands for the answer

    @property
    def now(self) -> int:
        """The sandbox's time in whole seconds, as the API shows it."""
        return int(self.store.now())
