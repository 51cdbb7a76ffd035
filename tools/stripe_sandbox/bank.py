"""The bank's later answers: an intent that was processing, a refund that was pending or fails in
the end.
"""

from tools.stripe_sandbox import charging, refunds, settlements
from tools.stripe_sandbox.books import Books
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import no_such
from tools.stripe_sandbox.records import Intent, Refund

__all__ = ["run_once", "settle"]


def run_once(books: Books) -> int:
    """Settle what is due now; return how much that was."""
    found = settlements.due(books)
    for id, outcome in found:
        settle(books, id, outcome)
    return len(found)


def settle(books: Books, id: str, outcome: str) -> None:
    """Let an intent or a refund end as `succeeded` or `failed`; raise a 404 for an id that is
    neither's.
    """
    with books.transaction():
        call = Call(books=books)
        settlements.settled(books, id)
        intent, refund = books.find(Intent, id), books.find(Refund, id)
        if intent:
            charging.settle(call, intent, outcome)
        elif refund:
            refunds.settle(call, refund, outcome)
        else:
            raise no_such("payment intent or refund", id, param="id")
