"""The steps of payments in the order sagas.

`charge_first` charges at once. `authorize_first` authorizes first, and captures when the order is
ready. The undo steps leave none of the customer's money with us. `payments.refund_part` gives back
a part of a fulfilled order, for another saga.
"""

from payments.steps.batches import OrderToCharge
from payments.steps.capture import Capture, withhold
from payments.steps.charge import Authorize, Charge
from payments.steps.refund import Refund, Void, refunded_by_hand
from payments.steps.refund_part import PartToRefund, RefundPart, part_refunded_by_hand

__all__ = [
    "Authorize",
    "Capture",
    "Charge",
    "OrderToCharge",
    "PartToRefund",
    "Refund",
    "RefundPart",
    "Void",
    "part_refunded_by_hand",
    "refunded_by_hand",
    "withhold",
]
