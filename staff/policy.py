"""The policy of staff: which person may take which action, and read which data.

API, admin, console and commands ask `decide` before a write, and `may_read` or `may_view` before
they show the data of others. All rest on Django's permissions. A write about a saga needs the
permission to view its kind as well. `ACTIONS` has the actions on sagas of any kind. A
domain adds its own with `register`, when its app is ready. The log keeps the names, so a name never
changes.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django.contrib.auth.models import AnonymousUser, User

from sagas.definition.names import NameTaken, Registrations, by_name
from sagas.kinds import SagaKind
from staff.roles import is_auditor

__all__ = [
    "ACTIONS",
    "EVENTS",
    "Decision",
    "NotPermitted",
    "Shell",
    "StaffAction",
    "action_choices",
    "all_actions",
    "decide",
    "label_of",
    "may_read",
    "may_view",
    "register",
    "register_events",
    "require",
]


class StaffAction(NamedTuple):
    """One kind of write by staff, and Django's permission for it.

    `or_permission` suffices as well, if given.
    """

    name: str
    label: str
    permission: str
    or_permission: str = ""


ACT_ON_SAGAS = "console.add_run"
# A hold stops the calls of a step, and a limit slows them down. A release lets more calls start.
PAUSE_STEPS = "console.pause_step"
RELEASE_STEPS = "console.hold_step"  # the permission's name of earlier releases

ACTIONS = (
    # The console runs these: console.bulk_actions.
    StaffAction("retry", "Try again now", ACT_ON_SAGAS),
    StaffAction("publish", "Publish again", ACT_ON_SAGAS),
    StaffAction("cancel", "Cancel and undo", ACT_ON_SAGAS),
    StaffAction("hold", "Put on hold", ACT_ON_SAGAS),
    StaffAction("release", "Release", ACT_ON_SAGAS),
    StaffAction("by_hand", "Mark a step as done by hand", ACT_ON_SAGAS),
    StaffAction("signal", "Answer a wait", ACT_ON_SAGAS),
    StaffAction("hold_step", "Put a step on hold for all sagas", PAUSE_STEPS),
    StaffAction("release_step", "Release a step for all sagas", RELEASE_STEPS),
    StaffAction("limit_calls", "Limit the calls to an outside system", PAUSE_STEPS),
    StaffAction("raise_limit", "Raise or remove a limit of calls", RELEASE_STEPS),
    StaffAction("decide_run", "Approve or decline a run", "console.approve_run"),
)

# Other entries of the log: the policy is not asked, or the permission is Django's own.
EVENTS = (
    ("login", "Log in"),
    ("login_failed", "Failed login"),
    ("logout", "Log out"),
    ("add_user", "Add a user"),
    ("change_user", "Change a user"),
    ("delete_user", "Delete a user"),
    ("add_group", "Add a group"),
    ("change_group", "Change a group"),
    ("delete_group", "Delete a group"),
    ("change_permissions", "Change permissions"),
    ("admin_add", "Add in the admin"),
    ("admin_change", "Change in the admin"),
    ("admin_delete", "Delete in the admin"),
    ("refused", "Refused call"),
    ("purge_log", "Delete old log entries"),
)

_BY_NAME = by_name("The action", ACTIONS, lambda action: action.name)
_events = dict(EVENTS)
_registrations = Registrations("The action of the policy", __file__)


class Shell(NamedTuple):
    """A person at a shell of one of our hosts, who may do anything. `name` is the host's user."""

    name: str

    def get_username(self) -> str:
        """Return the name for the log."""
        return f"shell:{self.name}"


Actor = User | AnonymousUser | Shell


class Decision(NamedTuple):
    """Whether an actor may take an action; if not, the reason in words."""

    allowed: bool
    reason: str = ""


class NotPermitted(Exception):
    """The policy refuses the write. The text is for the person."""


def register(*actions: StaffAction) -> None:
    """Add the actions of a domain. Raises NameTaken if another action has a name of them."""
    for action in actions:
        if action.name in {known.name for known in ACTIONS}:
            raise NameTaken(
                f"The action {action.name!r} is the console's own. Choose another name."
            )
        _registrations.claim(action.name, action)
        _BY_NAME[action.name] = action


def register_events(labels: Mapping[str, str]) -> None:
    """Add entries of the log of which the policy is not asked: their names, and their labels."""
    _events.update(labels)


def all_actions() -> list[StaffAction]:
    """Return the actions of the console, and then the registered ones of the domains."""
    return [*_BY_NAME.values()]


def decide(
    actor: Actor, action: str, subject: object = None, *, kinds: Iterable[SagaKind] = ()
) -> Decision:
    """Decide whether an actor may take an action on a subject. Raises KeyError for no action.

    `kinds` are those of the sagas that the action is about: the actor must be permitted to view
    each. A user needs staff status as well, as in the admin. Auditors may take none, also as
    members of other groups.
    """
    known = _BY_NAME[action]
    if isinstance(actor, Shell):
        return Decision(allowed=True)
    if is_auditor(actor):
        return Decision(allowed=False, reason=f"“{known.label}” is refused: auditors only read.")
    permissions = filter(None, (known.permission, known.or_permission))
    missing = [] if _is_staff(actor) and any(map(actor.has_perm, permissions)) else [known]
    hidden = [kind.view_permission for kind in kinds if not may_view(actor, kind)]
    needed = [*(action.permission for action in missing), *sorted(set(hidden))]
    if not needed:
        return Decision(allowed=True)
    one, group = ("permission", "it") if len(needed) == 1 else ("permissions", "them")
    return Decision(
        allowed=False,
        reason=f"“{known.label}” needs the {one} {' and '.join(needed)}."
        f" Ask an administrator for a group that has {group}.",
    )


def may_read(actor: Actor, permission: str) -> bool:
    """Decide whether an actor may read the data that a view permission of Django covers.

    The data are those of all customers. An auditor needs no staff status: the admin asks for it,
    and the API does not.
    """
    if isinstance(actor, Shell):
        return True
    return (_is_staff(actor) or is_auditor(actor)) and actor.has_perm(permission)


def may_view(actor: Actor, kind: SagaKind) -> bool:
    """Decide whether an actor may see all sagas of a kind, and their amounts."""
    return may_read(actor, kind.view_permission)


def require(
    actor: Actor, action: str, subject: object = None, *, kinds: Iterable[SagaKind] = ()
) -> None:
    """Raise `NotPermitted` unless the actor may take the action on sagas of these kinds."""
    decision = decide(actor, action, subject, kinds=kinds)
    if not decision.allowed:
        raise NotPermitted(decision.reason)


def label_of(action: str) -> str:
    """Return the label of an action. An action unknown to this release has its name as label."""
    return dict(action_choices()).get(action, action)


def action_choices() -> list[tuple[str, str]]:
    """Return the name and label of every action.

    A callable for model fields, so that a new action needs no migration.
    """
    return [*((action.name, action.label) for action in all_actions()), *_events.items()]


def _is_staff(user: User | AnonymousUser) -> bool:
    return user.is_active and user.is_staff
