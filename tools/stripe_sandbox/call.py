"""One call of the API, as the code behind it sees it."""

from dataclasses import dataclass, field

from tools.stripe_sandbox.books import Books
from tools.stripe_sandbox.faults import Fault
from tools.stripe_sandbox.forms import Form

__all__ = ["Call"]


@dataclass(kw_only=True)
class Call:
    """A call, inside its transaction. What nobody called for, as a bank's late answer, has no
    `request`.
    """

    books: Books
    form: Form = field(default_factory=lambda: Form({}))
    request: str | None = None
    key: str | None = None
    origin: str = ""  # the sandbox's own address, for links into it
    unseen_after: float | None = None  # a search that lags sees nothing newer than this
    fault: Fault | None = None  # what a payment method wants to become of the answer

    @property
    def now(self) -> int:
        """The sandbox's time, in whole seconds, as the API has it."""
        return int(self.books.now())
