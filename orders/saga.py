"""The whole saga of an order, in the two ways there are. ORDER_SAGA names the one that new orders
take.

An order that is placed keeps its own: its plan is stored with it, and travels inside every message.
"""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from sagas.definition.plan import Saga, Step

__all__ = ["AUTHORIZE_FIRST", "PLACE_ORDER", "SAGAS", "chosen_saga"]

PLACE_ORDER = Saga(
    "place_order",
    Step("payments.charge", undo="payments.refund"),
    Step("inventory.reserve", undo="inventory.release"),
    Step("orders.fulfil", pivot=True),  # from here only forward
    Step("inventory.ship"),  # held stock becomes shipped stock
    abort="orders.cancel",
)

# Takes no money for stock that is not there.
AUTHORIZE_FIRST = Saga(
    "authorize_first",
    Step("payments.authorize", undo="payments.void"),
    Step("inventory.reserve", undo="inventory.release"),
    Step(
        "payments.capture", pivot=True, bar="payments.withhold"
    ),  # a cancel asks payments, and may come too late
    Step("orders.fulfil"),
    Step("inventory.ship"),
    abort="orders.cancel",
)

SAGAS = {"charge_first": PLACE_ORDER, "authorize_first": AUTHORIZE_FIRST}


def chosen_saga() -> Saga:
    """Return the saga that new orders take; raise ImproperlyConfigured for one that there is
    not.
    """
    if settings.ORDER_SAGA not in SAGAS:
        raise ImproperlyConfigured(
            f"ORDER_SAGA is {settings.ORDER_SAGA!r}; there are: {', '.join(sorted(SAGAS))}."
        )
    return SAGAS[settings.ORDER_SAGA]
