"""The request to give back a part of a charge, and the answers that only such a request has."""

from uuid import UUID

import msgspec

__all__ = ["KeySpent", "PartRefundRequest", "PartRefunded", "PartSoFar"]


class PartRefundRequest(msgspec.Struct, frozen=True):
    """A request to give back `amount` of a charge, once, through the `gateway` that took it.

    `key` belongs to this part alone: other refunds of the charge do not count towards `amount`, but
    they may leave less than it. A gateway that saves errors under a key uses the successor of the
    key with number `key_number`; 1 is the key itself.
    """

    key: str
    order_id: UUID
    charge_id: str
    amount: int
    currency: str
    gateway: str = ""
    key_number: int = 1


class PartRefunded(msgspec.Struct, frozen=True):
    """The customer has the part back, or the whole charge.

    `amount`: the sum of the succeeded refunds under the key. It is less than the request's only if
    other refunds and lost disputes have left no more of the charge. `total`: the sum of all
    succeeded refunds of the charge. `disputed`: the amount that the customer got through lost
    disputes. `refund_id` is the last refund under the key; else another one, or the dispute.
    """

    refund_id: str
    amount: int
    total: int
    disputed: int = 0


class PartSoFar(msgspec.Struct, frozen=True):
    """The customer's money of a part that is not given back as a whole, in minor units.

    `given_back`: the sum of the succeeded refunds under the key. `covered`: what the customer has
    of the rest by other refunds and lost disputes, because they have left no more of the charge.
    """

    given_back: int
    covered: int

    @classmethod
    def of(cls, amount: int, *, given_back: int, left: int) -> "PartSoFar":
        """Return the state of a part of `amount`.

        `left`: the captured amount, less all succeeded refunds and lost disputes of the charge.
        """
        missing = min(amount - given_back, left)
        return cls(given_back, amount - given_back - missing)


class KeySpent(msgspec.Struct, frozen=True):
    """The gateway keeps an error under the key of a request, and has moved no money under it.

    `key_number` is the number in that request. The next request has the next number.
    """

    reason: str
    key_number: int
    part: PartSoFar | None = None
