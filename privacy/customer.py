"""A customer: the account, the orders, and the reasons why they cannot be forgotten yet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db.models import Q, QuerySet
from django.utils import timezone

from console.models import Run
from inventory.models import StockAdjustment
from orders.models import Order
from payments.models import Dispute, Drift, PartialRefund, Payment
from returns.models import Return
from staff.logins import is_member_of_staff
from staff.models import LogEntry

__all__ = [
    "Customer",
    "find_customer",
    "forgotten_name",
    "load_customer",
    "orders_of",
    "reasons_to_refuse",
    "returns_of",
    "sessions_of",
]

# Orders of one statement, so that no transaction is long.
AT_ONCE = 200

# Messages of an order may still be under way for a while after its end.
SETTLED_AFTER = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Customer:
    """A customer, the orders, the returns, and the words that identify the person in a text."""

    user: User
    orders: Sequence[UUID]
    returns: Sequence[UUID]
    words: Sequence[str]

    def pages(self) -> Iterator[list[UUID]]:
        """Yield the ids of the orders and of the returns, some at a time."""
        sagas = [*self.orders, *self.returns]
        for start in range(0, len(sagas), AT_ONCE):
            yield sagas[start : start + AT_ONCE]


def forgotten_name(user_id: int) -> str:
    """Return the user name that stands for a forgotten customer."""
    return f"forgotten-{user_id}"


def find_customer(name: str) -> User | None:
    """Return the user of a name. `#12` is the user with the id 12."""
    if name.startswith("#") and name[1:].isascii() and name[1:].isdigit():
        return User.objects.filter(pk=int(name[1:])).first()
    return User.objects.filter(username=name).first()


def load_customer(user: User) -> Customer:
    """Read a customer's orders, and the words that identify the person."""
    orders = list(orders_of(user))
    methods = set(
        Order.objects.filter(user=user).values_list("payment_method", flat=True).distinct()
    )
    # An older backup of payments may have methods that orders has forgotten.
    for start in range(0, len(orders), AT_ONCE):
        payments = Payment.objects.filter(order_id__in=orders[start : start + AT_ONCE])
        methods.update(payments.values_list("payment_method", flat=True))
    names = [user.username] if user.username != forgotten_name(user.pk) else []
    return Customer(
        user=user,
        orders=orders,
        returns=list(returns_of(user)),
        words=[*names, user.email, user.get_full_name(), *methods],
    )


def orders_of(user: User) -> QuerySet[Order, UUID]:
    """Return the ids of a user's orders, oldest first."""
    return Order.objects.filter(user=user).order_by("id").values_list("id", flat=True)


def returns_of(user: User) -> QuerySet[Return, UUID]:
    """Return the ids of a user's returns, oldest first."""
    return Return.objects.filter(user=user).order_by("id").values_list("id", flat=True)


def sessions_of(user: User) -> list[Session]:
    """Return the sessions of a user. Only their content names the user, so all are read."""
    return [
        session
        for session in Session.objects.iterator(chunk_size=1_000)
        if session.get_decoded().get("_auth_user_id") == str(user.pk)
    ]


def reasons_to_refuse(customer: Customer) -> list[str]:
    """Return why a customer cannot be forgotten now; none if it is possible."""
    return [*_as_staff(customer.user), *_open_sagas(customer), *_open_money(customer)]


def _as_staff(user: User) -> Iterator[str]:
    name = user.get_username()
    acted = (
        LogEntry.objects.filter(Q(who=name) | Q(approver=name)).exists()
        or Run.objects.filter(Q(requested_by=user) | Q(decided_by=user)).exists()
        or StockAdjustment.objects.filter(by=name).exists()
        or Drift.objects.filter(closed_by=name).exists()
    )
    if is_member_of_staff(user) or acted:
        yield (
            "the user is or was staff, or is in a group. The log must go on to name the people"
            " behind its entries. Deactivate the account instead"
        )


def _open_sagas(customer: Customer) -> Iterator[str]:
    late = timezone.now() - SETTLED_AFTER
    unsettled = Q(ended_at=None) | Q(ended_at__gt=late)
    for model in (Order, Return):
        name = model._meta.verbose_name
        for saga in model._base_manager.filter(unsettled, user=customer.user).order_by("id"):
            if saga.ended_at is None:
                yield f"{name} {saga.id} is {saga.status} and has not ended"
            else:
                yield (
                    f"{name} {saga.id} ended less than a day ago, so messages may be under way."
                    f" Repeat the command after {saga.ended_at + SETTLED_AFTER:%Y-%m-%d %H:%M} UTC"
                )


def _open_money(customer: Customer) -> Iterator[str]:
    for page in customer.pages():
        of_orders = Payment.objects.filter(order_id__in=page)
        undecided = Q(status__in=(Payment.Status.PENDING, Payment.Status.AUTHORIZED))
        open_money = (
            Q(owed_amount__gt=0)
            | Q(dispute_status="open")
            | Q(follow_at__isnull=False)
            | Q(balance_due_at__isnull=False)
        )
        for payment in of_orders.filter(undecided | open_money).order_by("id"):
            yield _why_open(payment)
        succeeded = PartialRefund.Status.SUCCEEDED
        for part in PartialRefund.objects.filter(order_id__in=page).exclude(status=succeeded):
            yield f"the refund {part.id} of a part of order {part.order_id} is {part.status}"
        for dispute in Dispute.objects.filter(order_id__in=page, status="open"):
            yield f"dispute {dispute.id} of order {dispute.order_id} is not decided"
        for difference in Drift.objects.filter(order_id__in=page, closed_at=None):
            yield f"difference {difference.reference} of order {difference.order_id} is open"


def _why_open(payment: Payment) -> str:
    about = f"the payment of order {payment.order_id}"
    if payment.owed_amount:
        return f"{about}: {payment.owed_amount} {payment.currency} (minor units) are owed"
    if payment.dispute_status == "open":
        return f"{about} is disputed"
    if payment.follow_at or payment.balance_due_at:
        return f"{about} is still followed up at the gateway"
    return f"{about} is {payment.status}, so its outcome is open"
