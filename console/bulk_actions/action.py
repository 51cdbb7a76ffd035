"""Base classes of operator actions. Each declares its preview and its effect.

Their labels and permissions are in the policy of staff: `staff.policy`.

Each action is one class in a module of its own under `console.bulk_actions.actions`, and one line
in `console.bulk_actions.registry`. A project registers its own there. An action is safe to apply
twice: the second time it changes nothing, or nothing more.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from console.order_page.saga_detail import SagaDetail
from sagas.currencies import with_currency
from sagas.definition.hold_scope import HoldScope
from sagas.models import TrackedSaga
from staff.policy import label_of

__all__ = [
    "Action",
    "OrderAction",
    "OrderStepAction",
    "SingleOrderAction",
    "StepAction",
    "Tile",
    "changed_orders",
    "no_refunds",
    "unchanged_money",
    "undecided_charges",
]


@dataclass(frozen=True)
class Tile:
    """One figure of a preview. `tone` is a CSS class: `bad`, `slow`, or none."""

    title: str
    value: int | str
    note: str
    tone: str = ""


class Action(ABC):
    """An operator action. `name` is the policy's, and is stored with runs and in the log."""

    name: ClassVar[str]

    # Shown in red, because it stops sagas or takes something back.
    dangerous: ClassVar[bool] = False
    # Confirmed only while the preview stays exactly as shown, because money or stock depends on it.
    exact_preview: ClassVar[bool] = False

    # Shown on the preview page where nothing would change.
    nothing_to_do: ClassVar[str]
    # Asked on the preview page.
    reason_prompt: ClassVar[str] = "Why?"
    takes_reference: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """Return the label that the policy has."""
        return label_of(self.name)

    @abstractmethod
    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Return what the action would change now. `step` is empty for an action on sagas."""

    @abstractmethod
    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Return the figures of a preview in the operator's words."""

    def required_reference(self, step: str) -> str:
        """Return what must be given as the reference for a step; empty where it is optional."""
        return ""


class OrderAction(Action):
    """An action on sagas, one at a time. A run holds one or many."""

    def is_offered(self, order: TrackedSaga, *, on_hold: bool | None) -> bool:
        """Tell whether the page of an open saga shows a button for it.

        `on_hold` is None if it is unknown whether the saga is on hold.
        """
        return True

    def is_offered_after_end(self, detail: SagaDetail) -> bool:
        """Tell whether the page of a saga that has ended shows a button for it."""
        return False

    @abstractmethod
    def apply(self, order: TrackedSaga, run: Run) -> ActionResult:
        """Act on one saga. Raises the errors of the databases."""


class SingleOrderAction(OrderAction):
    """An action on one saga, with evidence of its own. The list of sagas does not offer it."""


class OrderStepAction(SingleOrderAction):
    """An action on one step of one saga."""


class StepAction(Action):
    """An action on a step of all sagas. Its run has a single item, without a saga."""

    def check_scope(self, scope: HoldScope) -> None:
        """Raise `ActionRejected` if the action cannot be about this step or its destination."""
        return

    @abstractmethod
    def apply(self, run: Run) -> ActionResult:
        """Act on the run's step. Raises the errors of the databases."""


def changed_orders(impact: Impact) -> Tile:
    """Return the tile of how many of the selected sagas change."""
    return Tile(
        "Sagas that change", impact.affected, f"of {impact.orders}; the others stay as they are"
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
    if impact.unpriced:
        return Tile(title, "none known", "but some of the money is not known here", "slow")
    if not impact.changes:
        return Tile(title, "none", "because no saga changes")
    return Tile(title, "none", "nothing is captured for the sagas that change")


def _amounts(by_currency: Mapping[str, int]) -> str:
    return ", ".join(with_currency(amount, currency) for currency, amount in by_currency.items())
