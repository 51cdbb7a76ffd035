"""The whole saga of an order."""

from sagas.plan import Saga, Step

__all__ = ["PLACE_ORDER"]

PLACE_ORDER = Saga(
    "place_order",
    Step("payments.charge", undo="payments.refund"),
    Step("inventory.reserve", undo="inventory.release"),
    Step("orders.fulfil", pivot=True),  # from here only forward
    Step("inventory.ship"),  # held stock becomes shipped stock
    abort="orders.cancel",
)
