"""Base classes of operator actions. Each declares its label, permission, preview and effect.

Each action is one class in a module of its own under `console.bulk_actions.actions`, and one line
in `console.bulk_actions.registry`. An action is safe to apply twice: the second time it changes
nothing, or nothing more.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from orders.models import Order
from payments.gateways.currencies import with_currency

__all__ = [
    "ACT_ON_ORDERS",
    "HOLD_STEPS",
    "Action",
    "OrderAction",
    "OrderStepAction",
    "StepAction",
    "Tile",
    "changed_orders",
    "no_refunds",
    "unchanged_money",
    "undecided_charges",
]

ACT_ON_ORDERS = "console.add_run"
HOLD_STEPS = "console.hold_step"


@dataclass(frozen=True)
class Tile:
    """One figure of a preview. `tone` is a CSS class: `bad`, `slow`, or none."""

    title: str
    value: int | str
    note: str
    tone: str = ""


class Action(ABC):
    """An operator action. `name` is stored with runs and in the log, so it never changes."""

    name: ClassVar[str]
    label: ClassVar[str]
    permission: ClassVar[str] = ACT_ON_ORDERS

    # Shown in red, because it stops orders or takes something back.
    dangerous: ClassVar[bool] = False
    # Confirmed only while the preview stays exactly as shown, because money or stock depends on it.
    exact_preview: ClassVar[bool] = False

    # Shown on the preview page where nothing would change.
    nothing_to_do: ClassVar[str]
    # Asked on the preview page.
    reason_prompt: ClassVar[str] = "Why?"
    takes_reference: ClassVar[bool] = False

    @abstractmethod
    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Return what the action would change now. `step` is empty for an action on orders."""

    @abstractmethod
    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Return the figures of a preview in the operator's words."""

    def required_reference(self, step: str) -> str:
        """Return what must be given as the reference for a step; empty where it is optional."""
        return ""


class OrderAction(Action):
    """An action on orders, one at a time. A run holds one or many."""

    def is_offered(self, order: Order, *, on_hold: bool) -> bool:
        """Tell whether the page of an open order shows a button for it."""
        return True

    @abstractmethod
    def apply(self, order: Order, run: Run) -> ActionResult:
        """Act on one order. Raises the errors of the databases."""


class OrderStepAction(OrderAction):
    """An action on one step of one order."""


class StepAction(Action):
    """An action on a step of all orders. Its run has a single item, without an order."""

    @abstractmethod
    def apply(self, run: Run) -> ActionResult:
        """Act on the run's step. Raises the errors of the databases."""


def changed_orders(impact: Impact) -> Tile:
    """Return the tile of how many of the selected orders change."""
    return Tile(
        "Orders that change", impact.affected, f"of {impact.orders}; the others stay as they are"
    )


def unchanged_money() -> Tile:
    """Return the tile of an action that refunds nothing."""
    return Tile(
        "Money refunded", "none by this action", "steps that give money back go on as before"
    )


def undecided_charges(impact: Impact) -> Tile:
    """Return the tile of the charges that only the gateway can decide on."""
    amounts = _amounts(impact.undecided)
    return Tile(
        "Charges of unknown outcome",
        f"{impact.unknown_charges}: {amounts}" if amounts else impact.unknown_charges,
        "the gateway may have captured them: each may become a refund",
        "slow" if impact.unknown_charges else "",
    )


def no_refunds(impact: Impact, title: str) -> Tile:
    """Return the tile of an action without a known refund: none, or unknown."""
    if impact.unknown_charges:
        return Tile(title, "none known", "but some charges are of unknown outcome", "slow")
    if not impact.changes:
        return Tile(title, "none", "because no order changes")
    return Tile(title, "none", "nothing is captured for the orders that change")


def _amounts(by_currency: Mapping[str, int]) -> str:
    return ", ".join(with_currency(amount, currency) for currency, amount in by_currency.items())
