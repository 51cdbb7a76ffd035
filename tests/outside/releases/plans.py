"""The plans of the two releases."""

from sagas.definition.plan import Plan, Step

__all__ = ["EARLIER", "LATER"]

CHARGE = Step("payments.charge", undo="payments.refund")
RESERVE = Step("inventory.reserve", undo="inventory.release")
FULFIL = Step("orders.fulfil", pivot=True)

EARLIER = Plan(
    saga="place_order",
    steps=(
        CHARGE,
        Step("inventory.label", undo="inventory.unlabel"),
        RESERVE,
        FULFIL,
        Step("inventory.ship"),
    ),
    abort="orders.cancel",
)
LATER = Plan(
    saga="place_order",
    steps=(
        CHARGE,
        Step("inventory.pack", undo="inventory.unpack"),
        RESERVE,
        FULFIL,
        Step("inventory.dispatch"),
    ),
    abort="orders.cancel",
)
