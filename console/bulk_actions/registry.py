"""All operator actions. To add one, write its module under `actions` and add a line here."""

from django.contrib.auth.models import AnonymousUser, User

from console.bulk_actions.action import Action, OrderAction, OrderStepAction, StepAction
from console.bulk_actions.actions.cancel import Cancel
from console.bulk_actions.actions.hold import Hold
from console.bulk_actions.actions.hold_step import HoldStep
from console.bulk_actions.actions.mark_done import MarkDone
from console.bulk_actions.actions.publish import Publish
from console.bulk_actions.actions.release import Release
from console.bulk_actions.actions.release_step import ReleaseStep
from console.bulk_actions.actions.retry import Retry
from console.bulk_actions.results import ActionRejected
from orders.models import Order

__all__ = [
    "ACTIONS",
    "UnknownAction",
    "bulk_actions",
    "get_action",
    "is_permitted",
    "label_of",
    "order_page_actions",
    "step_actions",
]

RETRY = Retry()

# In the order in which pages offer them.
ACTIONS: tuple[Action, ...] = (
    RETRY,
    Publish(),
    Cancel(),
    Hold(),
    Release(),
    MarkDone(),
    HoldStep(),
    ReleaseStep(),
)


class UnknownAction(ActionRejected):
    """No action has this name, or the page does not offer it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Unknown action: “{name}”. Choose an action on the page.")


def get_action(name: str) -> Action:
    """Return an action by its name. Raises `UnknownAction`."""
    for action in ACTIONS:
        if action.name == name:
            return action
    raise UnknownAction(name)


def label_of(name: str) -> str:
    """Return the label of an action. An action unknown to this release has its name as label."""
    return next((action.label for action in ACTIONS if action.name == name), name)


def is_permitted(user: User | AnonymousUser, name: str) -> bool:
    """Tell whether a user may run an action."""
    return user.has_perm(get_action(name).permission)


def bulk_actions() -> list[OrderAction]:
    """Return the actions on whole orders, which the list of orders offers."""
    return [
        action
        for action in ACTIONS
        if isinstance(action, OrderAction) and not isinstance(action, OrderStepAction)
    ]


def order_page_actions(
    order: Order, *, on_hold: bool, is_followed_up: bool = False
) -> list[OrderAction]:
    """Return the actions that the page of an order offers.

    Once the order has ended, only the follow-up of its payment can be attempted again, if the
    payment has one.
    """
    if order.ended_at:
        return [RETRY] if is_followed_up else []
    return [action for action in bulk_actions() if action.is_offered(order, on_hold=on_hold)]


def step_actions() -> list[StepAction]:
    """Return the actions on a step of all orders, which the page of holds offers."""
    return [action for action in ACTIONS if isinstance(action, StepAction)]
