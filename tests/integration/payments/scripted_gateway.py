"""A gateway whose statement is a list of a test, named by its dotted path."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, ClassVar

from payments.gateways.base import (
    Absent,
    BalanceAnswer,
    ChargeAnswer,
    ChargeBalance,
    ChargeRequest,
    FindAnswer,
    Movement,
    PaymentGateway,
    RefundAnswer,
    RefundRequest,
)
from sagas.ids import uuid7

__all__ = ["PATH", "ScriptedGateway", "movement"]

PATH = f"{__name__}.ScriptedGateway"


class ScriptedGateway(PaymentGateway):
    """A gateway that has moved the money that a test says.

    `windows`: the windows of the statement that were asked for. `before_movement` is called before
    each movement that is read, and may raise.
    """

    movements: ClassVar[list[Movement]] = []
    balances: ClassVar[dict[str, ChargeBalance]] = {}
    windows: ClassVar[list[tuple[datetime, datetime]]] = []
    before_movement: ClassVar[Callable[[Movement], None]] = staticmethod(lambda movement: None)

    @classmethod
    def reset(cls) -> None:
        """Forget all movements and windows."""
        cls.movements, cls.balances, cls.windows = [], {}, []
        cls.before_movement = staticmethod(lambda movement: None)

    def statement(self, since: datetime, until: datetime) -> Iterator[Movement]:
        """Yield the movements of a window."""
        self.windows.append((since, until))
        for each in self.movements:
            if since <= each.at < until:
                type(self).before_movement(each)
                yield each

    def balance(self, requests: Sequence[ChargeRequest]) -> list[BalanceAnswer]:
        """Return the balances of the test."""
        return [self.balances.get(request.charge_id, Absent()) for request in requests]

    def find(self, requests: Sequence[ChargeRequest]) -> list[FindAnswer]:
        """Know no charge."""
        return [Absent() for _ in requests]

    def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Fail, because reconciliation moves no money."""
        raise AssertionError("Reconciliation must not move money.")

    authorize = capture = void = charge

    def refund(self, requests: Sequence[RefundRequest]) -> list[RefundAnswer]:
        """Fail, because reconciliation moves no money."""
        raise AssertionError("Reconciliation must not move money.")


def movement(at: datetime, **fields: Any) -> Movement:
    """Return a capture of an unknown order, unless the fields say otherwise."""
    charge = f"ch_{uuid7().hex}"
    default = {
        "kind": "capture",
        "id": charge,
        "charge_id": charge,
        "amount": 700,
        "currency": "eur",
        "order_id": uuid7(),
        "key": "",
    }
    return Movement(**{**default, **fields, "at": at})
