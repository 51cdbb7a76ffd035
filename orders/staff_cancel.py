"""The cancel of a customer's order by staff: made elsewhere, because it needs the console.

Orders must not import the console, so the setting STAFF_CANCEL names the function by its dotted
path.
"""

from typing import Protocol
from uuid import UUID

from django.contrib.auth.models import User

from api.chosen_function import chosen_function

__all__ = ["StaffCancel", "StaffCancelled", "chosen_staff_cancel"]


class StaffCancelled(Protocol):
    """The run of a cancel, and whether another person must approve it before it starts."""

    @property
    def run_id(self) -> UUID:
        """The id of the run."""

    @property
    def awaiting_approval(self) -> bool:
        """Whether the order stays as it is until a second person approves."""


class StaffCancel(Protocol):
    """Cancels an order as the shop, with a reason, the limit of refunds and the log."""

    def __call__(self, order_id: UUID, *, by: User, reason: str, via: str) -> StaffCancelled:
        """Cancel the order, or ask a second person for approval.

        Raises `NotPermitted`, `Rejected`, `OrderFulfilledError` or `Order.DoesNotExist`.
        """


def chosen_staff_cancel() -> StaffCancel:
    """Return the function that STAFF_CANCEL names. Raises ImproperlyConfigured if none."""
    cancel: StaffCancel = chosen_function("STAFF_CANCEL")
    return cancel
