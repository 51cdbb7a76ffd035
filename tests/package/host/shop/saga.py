"""Two kinds of saga in one app."""

from sagas import Event, Saga, Step


class OrderPlaced(Event, frozen=True):
    type = "order.placed"
    amount: int


class ReturnAsked(Event, frozen=True):
    type = "return.asked"
    amount: int


PLACE = Saga(
    "place",
    Step("bank.book", undo="bank.remove"),
    Step("shop.confirm", pivot=True),
    abort="shop.cancel",
    started_by=OrderPlaced,
)
TAKE_BACK = Saga(
    "take_back",
    Step("bank.pay_back", undo="bank.remove"),
    Step("shop.take_back", pivot=True),
    abort="shop.keep",
    started_by=ReturnAsked,
)
