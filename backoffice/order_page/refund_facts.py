"""The partial refunds of an order, as its page shows them: one line for each."""

from collections.abc import Iterator, Sequence

from backoffice.order_page.payment_facts import Fact
from payments.models import PartialRefund, Payment
from sagas.currencies import with_currency

__all__ = ["owed_parts", "part_alarms", "part_facts"]

Status = PartialRefund.Status


def part_facts(refunds: Sequence[PartialRefund]) -> Iterator[Fact]:
    """Yield a fact for each refund, with the saga that asked for it."""
    for refund in refunds:
        yield Fact("Refund of a part", f"{_state(refund)}, for saga {refund.id}")


def owed_parts(refunds: Sequence[PartialRefund]) -> list[PartialRefund]:
    """Return the refunds that have failed after their sagas had gone on."""
    return [refund for refund in refunds if refund.status == Status.FAILED]


def part_alarms(payment: Payment | None, refunds: Sequence[PartialRefund]) -> Iterator[str]:
    """Yield a sentence for each part that is owed. An undone payment owes the whole instead."""
    if payment is None or payment.owed_amount:
        return
    answer = f" Last answer: {payment.follow_error}" if payment.follow_error else ""
    for refund in owed_parts(refunds):
        yield (
            f"{with_currency(refund.missing, refund.currency)} are owed to the customer: the "
            f"refund for saga {refund.id} has failed at the bank. It is repeated automatically."
            f"{answer}"
        )


def _state(refund: PartialRefund) -> str:
    asked = with_currency(refund.asked_amount, refund.currency)
    back = with_currency(refund.refunded_amount, refund.currency)
    match refund.status:
        case Status.PENDING:
            return f"{asked}, not given back yet"
        case Status.FAILED:
            return f"{asked}, of which {back} are back; the refund failed at the bank"
    if refund.reference:
        return f"{asked}, given back by a person: {refund.reference}"
    if refund.refunded_amount < refund.asked_amount:
        return f"{asked}, of which {back} were refunded, because nothing was left of the charge"
    return f"{back}, given back: {refund.refund_id}"
