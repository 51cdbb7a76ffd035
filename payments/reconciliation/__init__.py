"""Reconciliation of the gateways' statements with our payments, window by window.

It compares in both directions: money that payments does not know, and payments that the gateway
does not know. Money without an order of ours was moved by hand or for another business, and is
ignored unless it moves money of a charge of ours. Open and authorized payments are left to their
sagas. Every gateway is compared that has payments in the window.

A window is compared in parts. Each part commits with its differences and the window's cursor, so
that a task works for seconds only, and a crash costs one part.
"""

from payments.reconciliation.budget import Budget
from payments.reconciliation.comparison import Discrepancy
from payments.reconciliation.results import LastResult, last_result
from payments.reconciliation.run import Result, reconcile, reconcile_scheduled
from payments.reconciliation.windows import Window, next_window

__all__ = [
    "Budget",
    "Discrepancy",
    "LastResult",
    "Result",
    "Window",
    "last_result",
    "next_window",
    "reconcile",
    "reconcile_scheduled",
]
