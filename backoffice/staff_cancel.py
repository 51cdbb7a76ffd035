"""Cancel one order as the shop, for staff at another surface than the console.

It makes the same run as the console's cancel: with a reason, within the limit of refunds or with a
second person, and logged.
"""

from typing import NamedTuple
from uuid import UUID

from django.contrib.auth.models import User

from console.bulk_actions import runs, worker
from console.bulk_actions.actions.cancel import Cancel
from console.bulk_actions.log import rejection_kind
from console.models import Run
from orders.models import Order
from orders.services import OrderFulfilledError
from orders.status import Status
from sagas.kinds import kind_of
from staff.log import About
from staff.writes import check_permitted, record_failure

__all__ = ["StaffCancel", "cancel_as_staff"]


class StaffCancel(NamedTuple):
    """The run of a cancel, and whether another person must approve it before it starts."""

    run_id: UUID
    awaiting_approval: bool


def cancel_as_staff(order_id: UUID, *, by: User, reason: str, via: str = "api") -> StaffCancel:
    """Cancel an order as the shop, at once if no second person is needed.

    A request that waits for approval is not made twice: the run that waits is returned. If a
    database fails halfway, a worker completes the run. A request that is rejected is in the log.

    Raises `staff.policy.NotPermitted` after logging the refusal, `staff.writes.Rejected` if the
    reason or a database is missing, `OrderFulfilledError`, and `Order.DoesNotExist`.
    """
    about: About = {"order_id": order_id, "why": reason}
    check_permitted(by, Cancel.name, via=via, kinds=[kind_of(Order)], **about)
    try:
        run = _requested(order_id, by=by, reason=reason, via=via)
    except Exception as error:
        kind = rejection_kind(error)
        record_failure(by, Cancel.name, error, via=via, kind=kind, **about)
        raise
    if run.state == Run.State.AWAITING:
        return StaffCancel(run.id, awaiting_approval=True)

    worker.act_on(run)
    if _status_of(order_id) == Status.FULFILLED:
        raise OrderFulfilledError  # the entry of the run says so
    return StaffCancel(run.id, awaiting_approval=False)


def _requested(order_id: UUID, *, by: User, reason: str, via: str) -> Run:
    """Return the run that waits for approval, or a new one."""
    if _status_of(order_id) == Status.FULFILLED:
        raise OrderFulfilledError("It is fulfilled, so it can no longer be cancelled.")
    return _awaiting_approval(order_id, by) or runs.request(
        Cancel.name, order_id, by=by, reason=reason, via=via
    )


def _status_of(order_id: UUID) -> str:
    return Order.objects.values_list("status", flat=True).get(id=order_id)


def _awaiting_approval(order_id: UUID, by: User) -> Run | None:
    return Run.objects.filter(
        state=Run.State.AWAITING, action=Cancel.name, requested_by=by, items__order_id=order_id
    ).first()
