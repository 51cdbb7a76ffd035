"""The description of a return for the console and the audit."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
from django.contrib.auth.models import User
from django.db.models import QuerySet

from returns.events import GoodsReceived, ReturnCancelled, ReturnDeclined
from returns.goodwill import goodwill_for
from returns.models import Return, TimelineEvent
from returns.selectors import with_status
from returns.services import ORDER
from returns.status import OPEN, Kind, Status
from sagas import Event, Refusal
from sagas.currencies import with_currency
from sagas.kinds import Fact, Money, Proposal, SagaKind, SagaLink, SagaRecord, kind_of, register
from sagas.lifecycle import Plan
from sagas.models import TrackedSaga
from sagas.waits import WrongSignal
from staff.policy import NotPermitted

__all__ = ["CANCELLED_BY_SHOP", "ReturnKind"]

# The reason that the customer sees. The operator's own reason stays in the log.
CANCELLED_BY_SHOP = ReturnCancelled(code="cancelled_by_shop", detail="Cancelled by the shop.")

APPROVE, RECEIVE = "returns.approve", "returns.receive"
ACTIONS = {APPROVE: "approve_return", RECEIVE: "receive_return"}

# The status of an order whose page offers goodwill.
FULFILLED = "fulfilled"

# Returns that the page of an order names.
NEWEST = 20

REFUND, RESTOCK = "payments.refund_part", "inventory.restock"
REFUNDED, RESTOCKED = "payment.partly_refunded", "stock.restocked"


@register(Return)
class ReturnKind(SagaKind):
    """Returns. They are searched by customer, and cancelled until they are accepted."""

    statuses: Mapping[str, str] = MappingProxyType(
        {each.value: str(each.label).lower() for each in Status}
    )
    search_help = "Return id, or the customer's user name."
    columns = ("Amount", "Customer")

    def rows(self) -> QuerySet[Any]:
        """Return the returns with their users."""
        return super().rows().select_related("user")

    def status(self, row: Any) -> str:
        """Return the status that the customer sees."""
        return str(row.get_status_display()).lower()

    def facts(self, row: Any) -> Sequence[Fact]:
        """Return the amount, the customer, the order, and the reason that an approver needs."""
        facts = [
            Fact("Amount", Money(row.amount, row.currency)),
            Fact("Customer", row.user.get_username()),
            Fact("Order", str(row.order_id), SagaLink(ORDER, row.order_id)),
            Fact("Kind", row.kind),
            Fact("Reason", row.reason),
        ]
        return [*facts, Fact("Given by", row.given_by)] if row.given_by else facts

    def facts_about(self, row: TrackedSaga) -> Sequence[Fact]:
        """Return the newest returns of an order, with their amounts and statuses."""
        if kind_of(type(row)).name != ORDER:
            return ()
        newest = list(super().rows().filter(order=row.pk).order_by("-id")[: NEWEST + 1])
        facts = [self._summary(each) for each in newest[:NEWEST]]
        if len(newest) > NEWEST:
            facts.append(Fact("Returns", f"Only the newest {NEWEST} are shown."))
        return facts

    def proposals_about(self, row: Any) -> Sequence[Proposal]:
        """Return the form for goodwill of an order."""
        if kind_of(type(row)).name != ORDER:
            return ()
        is_offered = row.status == FULFILLED and row.amount > 0  # a free order has no money
        return [goodwill_for(row.pk, currency=row.currency, is_offered=is_offered)]

    def _summary(self, row: Return) -> Fact:
        noun = "Goodwill" if row.kind == Kind.GOODWILL else "Return"
        amount = with_currency(row.amount, row.currency)
        attention = ", needs attention" if row.needs_attention else ""
        return Fact(noun, f"{self.status(row)}, {amount}{attention}", SagaLink(self.name, row.pk))

    def with_status(self, rows: QuerySet[Any], status: str) -> QuerySet[Any]:
        """Return the returns of a status, by index."""
        return with_status(rows, status)

    def failure(self, row: Any) -> str:
        """Return the code and the detail of the failure."""
        return f"{row.failure_code}: {row.failure_detail}" if row.failure_code else ""

    def search(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return the returns of the customer with this user name."""
        user = User.objects.filter(username=term).values_list("pk", flat=True).first()
        return rows.filter(user=user) if user else rows.none()

    def signal_action(self, step: str) -> str | None:
        """Return the action of the person who approves a return, or receives its goods."""
        return ACTIONS.get(step)

    def check_answer(self, row: Any, step: str, event: Event, *, by: str) -> None:
        """Refuse the approval of one's own goodwill or return, and fields that do not fit."""
        if step == APPROVE and row.user.get_username() == by:
            raise NotPermitted("The money is yours. Ask somebody else to approve or refuse it.")
        if step == APPROVE and row.given_by == by:
            raise NotPermitted(
                "Goodwill needs a second person. Ask somebody else to approve or refuse it."
            )
        if isinstance(event, GoodsReceived):
            _check_pieces(row, event)
        if isinstance(event, ReturnDeclined):
            _check_refusal(event)

    def suggested_answer(self, row: Any, step: str) -> Mapping[str, Any] | None:
        """Return the pieces that were requested, all of them to be restocked."""
        if step != RECEIVE:
            return None
        lines = row.requested_lines
        return {
            "lines": [{"sku": line.sku, "restock": line.quantity, "write_off": 0} for line in lines]
        }

    def cancellation(self, row: Any) -> Refusal | None:
        """Return the event of a cancel by the shop, until the return is accepted."""
        return CANCELLED_BY_SHOP if row.status in OPEN else None

    def violations(self, record: SagaRecord) -> Iterable[str]:
        """Yield what a return has moved otherwise than it says."""
        row: Any = record.row
        if not record.ended:
            return
        if record.undone != (row.status in {Status.REFUSED, Status.CANCELLED}):
            yield f"is {row.status}, but its saga was {'undone' if record.undone else 'completed'}"
        if record.has_messages:
            yield from _moved_otherwise(record)


def _check_refusal(event: ReturnDeclined) -> None:
    """Raise `WrongSignal` for another code, or without words for the customer.

    A return with another code would end as cancelled, and one without a code could not end.
    """
    code = ReturnDeclined().code
    if event.code != code:
        raise WrongSignal(f"The code of a refusal is always {code}. Leave it out.")
    if not event.detail.strip():
        raise WrongSignal("The customer reads `detail`. Give a text, or leave it out.")


def _check_pieces(row: Any, event: GoodsReceived) -> None:
    """Raise `WrongSignal` for a SKU or for pieces that were not requested."""
    wanted = {line.sku: line.quantity for line in row.requested_lines}
    seen: set[str] = set()
    for line in event.lines:
        if line.sku not in wanted:
            raise WrongSignal(f"The return has no line of {line.sku}.")
        if line.sku in seen:
            raise WrongSignal(f"{line.sku} is there twice. Name each SKU once.")
        if line.pieces > wanted[line.sku]:
            raise WrongSignal(
                f"Of {line.sku}, {wanted[line.sku]} pieces were requested, not {line.pieces}."
            )
        seen.add(line.sku)


def _moved_otherwise(record: SagaRecord) -> Iterable[str]:
    """Compare the money and the pieces of a return with its steps, and with their events.

    A crash can lose an entry of the timeline. So an event that is missing there is no violation.
    """
    row: Any = record.row
    completed = row.status == Status.COMPLETED
    # Of a mixed return, perhaps only free pieces have come back. Its refund of 0 is a step all the
    # same, because its plan was decided before.
    has_refund = row.amount > 0 or REFUND in set(msgspec.convert(row.plan, Plan).names())
    moves = {REFUND: completed and has_refund, RESTOCK: completed and row.kind == Kind.GOODS}
    for step, expected in moves.items():
        if (record.steps.get(step) == "done") != expected:
            yield f"is {row.status}, but {step} is {record.steps.get(step) or 'not begun'}"

    events = TimelineEvent.objects.filter(saga=row.pk, type__in=(REFUNDED, RESTOCKED))
    for type_, detail in events.values_list("type", "detail"):
        shown, moved = (_money if type_ == REFUNDED else _pieces)(row, detail)
        if shown != moved or not completed:
            yield f"is {row.status} with {shown}, but {type_} has {moved}"


def _money(row: Any, detail: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the refund that a return shows, and the refund of payments.

    The gateway gives back less if the customer has the rest by other refunds and disputes.
    """
    refunded = detail.get("amount", 0) + detail.get("covered", 0)
    return (row.amount, row.currency), (refunded, detail.get("currency"))


def _pieces(row: Any, detail: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the restocked and the written-off pieces of a return, and those of inventory."""
    lines = row.requested_lines
    restocked = sum(line.resellable or 0 for line in lines)
    written_off = sum(line.received or 0 for line in lines) - restocked
    return (restocked, written_off), (detail.get("restocked"), detail.get("written_off"))
