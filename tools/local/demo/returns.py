"""The returns of one demo: requested by the customer, received by staff, and read until the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tools.local.demo.client import Client, Json
from tools.local.demo.return_kinds import RETURN_KINDS, ReturnKind

__all__ = ["ENDED", "Returns"]

ENDED = {"completed", "refused", "cancelled"}


@dataclass
class Returns:
    """The kinds of the requested returns, and the returns as last read, both by id."""

    kinds: dict[str, ReturnKind] = field(default_factory=dict)
    read: dict[str, Json] = field(default_factory=dict)

    def play(self, customer: Client, staff: Client, orders: Sequence[Json]) -> None:
        """Return some orders: one for each return of each kind."""
        kinds = [kind for kind in RETURN_KINDS for _ in range(kind.returns)]
        for kind, order in zip(kinds, orders, strict=False):
            returned = customer.request_return(order)
            self.kinds[returned["id"]], self.read[returned["id"]] = kind, returned
            if kind.received is None:
                customer.cancel_return(returned)
            else:
                staff.receive(returned, kind.lines(returned["lines"]))

    def refresh(self, customer: Client) -> bool:
        """Read the returns again; tell whether all have ended."""
        self.read = {id_: customer.read_return(found) for id_, found in self.read.items()}
        return all(found["status"] in ENDED for found in self.read.values())

    def of(self, kind: ReturnKind) -> list[Json]:
        """Return the returns of a kind."""
        return [found for id_, found in self.read.items() if self.kinds[id_] == kind]

    @property
    def as_expected(self) -> bool:
        """Whether each kind has its number of returns, and all of them ended as expected."""
        return all(
            [found["status"] for found in self.of(kind)] == [kind.expected] * kind.returns
            for kind in RETURN_KINDS
        )
