"""Reconciliation of the gateway's statement with our payments, window by window.

It compares in both directions: money that payments does not know, and payments that the gateway
does not know. Money without an order of ours was moved by hand or for another business, and is
ignored unless it refunds a charge of ours. Open and authorized payments are left to their sagas.
Only the configured gateway is compared.
"""

from payments.reconciliation.comparison import Discrepancy
from payments.reconciliation.results import LastResult, last_result
from payments.reconciliation.run import Result, next_window, reconcile

__all__ = ["Discrepancy", "LastResult", "Result", "last_result", "next_window", "reconcile"]
