"""The two sagas of an order. ORDER_SAGA selects the saga of new orders.

A placed order keeps its saga, because its plan is stored with it and is part of every message. The
plan of a free order has no step of payments.
"""

from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from orders.events import OrderCreated
from sagas import Saga, Step

__all__ = ["AUTHORIZE_FIRST", "PLACE_ORDER", "SAGAS", "chosen_saga", "costs_money"]

# Of orders that are placed from now on. None by default.
DEADLINE = timedelta(seconds=settings.ORDER_DEADLINE_SECONDS) or None


def costs_money(order: OrderCreated) -> bool:
    """Tell whether an order is paid for. Only free products make an order whose amount is 0."""
    return order.amount > 0


PLACE_ORDER = Saga(
    "place_order",
    Step("payments.charge", undo="payments.refund", when=costs_money),
    Step("inventory.reserve", undo="inventory.release"),
    Step("orders.fulfil", pivot=True),  # after this step the saga is never undone
    Step("inventory.ship"),  # reserved stock becomes shipped stock
    abort="orders.cancel",
    started_by=OrderCreated,
    deadline=DEADLINE,
)

# Charges only if the stock is available.
AUTHORIZE_FIRST = Saga(
    "authorize_first",
    Step("payments.authorize", undo="payments.void", when=costs_money),
    Step("inventory.reserve", undo="inventory.release"),
    # Payments decides a cancel, which may come too late.
    Step("payments.capture", pivot=True, bar="payments.withhold", when=costs_money),
    Step("orders.fulfil", pivot=True),  # of a free order, which has no capture
    Step("inventory.ship"),
    abort="orders.cancel",
    started_by=OrderCreated,
    deadline=DEADLINE,
)

SAGAS = {"charge_first": PLACE_ORDER, "authorize_first": AUTHORIZE_FIRST}


def chosen_saga() -> Saga:
    """Return the saga of new orders. Raises ImproperlyConfigured for an unknown ORDER_SAGA."""
    if settings.ORDER_SAGA not in SAGAS:
        raise ImproperlyConfigured(
            f"ORDER_SAGA is {settings.ORDER_SAGA!r}. Set it to one of: {', '.join(sorted(SAGAS))}."
        )
    return SAGAS[settings.ORDER_SAGA]
