"""All operator actions. To add one, write its module under `actions` and add a line here.

A project registers its own actions when its app is ready. An action that knows money or stock
takes the place of the console's action of its name.
"""

from collections.abc import Iterable

from django.contrib.auth.models import AnonymousUser, User

from console.bulk_actions.action import (
    Action,
    OrderAction,
    OrderStepAction,
    SingleOrderAction,
    StepAction,
)
from console.bulk_actions.actions.cancel import Cancel
from console.bulk_actions.actions.hold import Hold
from console.bulk_actions.actions.hold_step import HoldStep
from console.bulk_actions.actions.mark_done import MarkDone
from console.bulk_actions.actions.publish import Publish
from console.bulk_actions.actions.release import Release
from console.bulk_actions.actions.release_step import ReleaseStep
from console.bulk_actions.actions.retry import Retry
from console.bulk_actions.results import ActionRejected
from console.order_page.saga_detail import SagaDetail
from sagas.definition.names import by_name
from sagas.kinds import SagaKind
from staff.policy import decide

__all__ = [
    "ACTIONS",
    "UnknownAction",
    "actions_on_one_order",
    "all_actions",
    "bulk_actions",
    "get_action",
    "is_permitted",
    "order_page_actions",
    "register",
    "step_actions",
]

# The actions of the console, in the order in which pages offer them.
ACTIONS: tuple[Action, ...] = (
    Retry(),
    Publish(),
    Cancel(),
    Hold(),
    Release(),
    MarkDone(),
    HoldStep(),
    ReleaseStep(),
)
_BY_NAME: dict[str, Action] = by_name("The action", ACTIONS, lambda action: action.name)


class UnknownAction(ActionRejected):
    """No action has this name, or the page does not offer it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Unknown action: “{name}”. Choose an action on the page.")


def register(action: Action) -> None:
    """Add an action, or put it in the place of the action of the console with its name.

    Raises TypeError if another action of a project has the name.
    """
    known = _BY_NAME.get(action.name)
    if known is not None and known not in ACTIONS and type(known) is not type(action):
        raise TypeError(f"The action {action.name!r} is registered twice. Keep one.")
    _BY_NAME[action.name] = action


def all_actions() -> list[Action]:
    """Return all actions, in the order in which pages offer them."""
    return [*_BY_NAME.values()]


def get_action(name: str) -> Action:
    """Return an action by its name. Raises `UnknownAction`."""
    if name not in _BY_NAME:
        raise UnknownAction(name)
    return _BY_NAME[name]


def is_permitted(user: User | AnonymousUser, name: str, *, kinds: Iterable[SagaKind] = ()) -> bool:
    """Tell whether the policy lets a user run an action on sagas of these kinds.

    Raises `UnknownAction`.
    """
    return decide(user, get_action(name).name, kinds=kinds).allowed


def bulk_actions() -> list[OrderAction]:
    """Return the actions on whole sagas, which the list of sagas offers."""
    return [
        action
        for action in all_actions()
        if isinstance(action, OrderAction) and not isinstance(action, SingleOrderAction)
    ]


def actions_on_one_order() -> list[OrderAction]:
    """Return the actions on a whole saga, which the page of a saga may offer."""
    return [
        action
        for action in all_actions()
        if isinstance(action, OrderAction) and not isinstance(action, OrderStepAction)
    ]


def order_page_actions(detail: SagaDetail, *, on_hold: bool | None) -> list[OrderAction]:
    """Return the actions that the page of a saga offers, which depend on whether it has ended."""
    if detail.row.ended_at:
        return [each for each in actions_on_one_order() if each.is_offered_after_end(detail)]
    return [each for each in bulk_actions() if each.is_offered(detail.row, on_hold=on_hold)]


def step_actions() -> list[StepAction]:
    """Return the actions on a step of all sagas, which the page of holds offers."""
    return [action for action in all_actions() if isinstance(action, StepAction)]
