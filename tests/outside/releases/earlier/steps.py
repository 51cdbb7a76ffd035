"""The step that the next release removes."""

from typing import ClassVar

from sagas.definition.events import Event, Refusal
from sagas.definition.handlers import Delivery, NoContext, action, undo


class StockLabelled(Event, frozen=True, kw_only=True):
    """The pieces have labels."""

    type: ClassVar[str] = "stock.labelled"


class StockUnlabelled(Event, frozen=True, kw_only=True):
    """The labels are removed."""

    type: ClassVar[str] = "stock.unlabelled"


class StockNotLabelled(Refusal, frozen=True, kw_only=True):
    """The pieces got no labels."""

    type: ClassVar[str] = "stock.not_labelled"


@action("inventory.label", accepts=NoContext, refusal=StockNotLabelled)
def label(delivery: Delivery[NoContext]) -> StockLabelled:
    """Label the pieces."""
    return StockLabelled()


@undo("inventory.unlabel", accepts=NoContext)
def unlabel(delivery: Delivery[NoContext]) -> StockUnlabelled:
    """Remove the labels."""
    return StockUnlabelled()
