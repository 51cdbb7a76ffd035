"""Settle payment intents, refunds and disputes later, as a bank does."""

from tools.stripe_sandbox import card_charges, disputes, refunds, settlement_queue
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import not_found
from tools.stripe_sandbox.records import Dispute, Intent, Refund
from tools.stripe_sandbox.store import Store

__all__ = ["run_once", "settle"]


def run_once(store: Store) -> int:
    """Settle all that is due; return the number."""
    settlements = settlement_queue.due(store)
    for settlement in settlements:
        settle(store, settlement.id, settlement.outcome)
    return len(settlements)


def settle(store: Store, id: str, outcome: str) -> None:
    """End an intent, a refund or a dispute as `succeeded` or `failed`; raise a 404 error for an
    unknown id. A dispute ends as won or lost.
    """
    with store.transaction():
        call = Call(store=store)
        settlement_queue.remove(store, id)
        intent, refund = store.find(Intent, id), store.find(Refund, id)
        dispute = store.find(Dispute, id)
        if intent:
            card_charges.settle(call, intent, outcome)
        elif refund:
            refunds.settle(call, refund, outcome)
        elif dispute:
            disputes.settle(call, dispute, outcome)
        else:
            raise not_found("payment intent, refund or dispute", id, param="id")
