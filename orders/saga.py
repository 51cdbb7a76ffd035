"""The two sagas of an order. ORDER_SAGA selects the saga of new orders.

A placed order keeps its saga, because its plan is stored with it and is part of every message.
"""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from sagas.definition.plan import Saga, Step

__all__ = ["AUTHORIZE_FIRST", "PLACE_ORDER", "SAGAS", "chosen_saga"]

PLACE_ORDER = Saga(
    "place_order",
    Step("payments.charge", undo="payments.refund"),
    Step("inventory.reserve", undo="inventory.release"),
    Step("orders.fulfil", pivot=True),  # after this step the saga is never undone
    Step("inventory.ship"),  # reserved stock becomes shipped stock
    abort="orders.cancel",
)

# Charges only if the stock is available.
AUTHORIZE_FIRST = Saga(
    "authorize_first",
    Step("payments.authorize", undo="payments.void"),
    Step("inventory.reserve", undo="inventory.release"),
    # Payments decides a cancel, which may come too late.
    Step("payments.capture", pivot=True, bar="payments.withhold"),
    Step("orders.fulfil"),
    Step("inventory.ship"),
    abort="orders.cancel",
)

SAGAS = {"charge_first": PLACE_ORDER, "authorize_first": AUTHORIZE_FIRST}


def chosen_saga() -> Saga:
    """Return the saga of new orders. Raises ImproperlyConfigured for an unknown ORDER_SAGA."""
    if settings.ORDER_SAGA not in SAGAS:
        raise ImproperlyConfigured(
            f"ORDER_SAGA is {settings.ORDER_SAGA!r}. Set it to one of: {', '.join(sorted(SAGAS))}."
        )
    return SAGAS[settings.ORDER_SAGA]
