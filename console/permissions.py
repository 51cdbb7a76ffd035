"""Who may do what in the console: three groups, made after each migration where they are missing.

What an administrator has given a group or taken from it stays; only a group that is not there is
made.
"""

from typing import Any

from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.db import router
from django.db.models import Q

from console.models import Action

__all__ = ["GROUPS", "NEEDED", "make_groups", "may"]

SHOWN = ("orders", "payments", "inventory", "console", "django_celery_results")
VIEW = Q(codename__startswith="view_", content_type__app_label__in=SHOWN)

# What it takes to have an action done, where that is more than acting on orders.
NEEDED = {Action.HOLD_STEP: "console.hold_step", Action.RELEASE_STEP: "console.hold_step"}

# An operator acts on orders and messages; an approver decides on what another has requested and on
# what concerns all orders, and acts on none.
GROUPS = {
    "viewer": VIEW,
    "operator": VIEW
    | Q(content_type__app_label="console", codename="add_run")
    | Q(
        content_type__app_label__in=("orders", "payments", "inventory"),
        codename__in=("change_outbox", "change_inbox"),
    ),
    "approver": VIEW
    | Q(content_type__app_label="console", codename__in=("approve_run", "hold_step")),
}


def may(person: User | AnonymousUser, action: str) -> bool:
    """Tell whether a person may have an action done."""
    return person.has_perm(NEEDED.get(Action(action), "console.add_run"))


def make_groups(sender: Any, *, using: str, **_: Any) -> None:
    """Make the groups that are missing, once all permissions are there."""
    if using != router.db_for_write(Group):
        return
    for name, permitted in GROUPS.items():
        group, new = Group.objects.using(using).get_or_create(name=name)
        if new:
            group.permissions.set(Permission.objects.using(using).filter(permitted))
