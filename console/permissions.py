"""The console's three groups of users, created after a migration where they are missing.

A group that exists is left as it is, because an administrator may have changed its permissions.
The permission of each action is declared with the action.
"""

from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db import router
from django.db.models import Q

__all__ = ["GROUPS", "make_groups"]

SHOWN = ("orders", "payments", "inventory", "console", "django_celery_results")
VIEW = Q(codename__startswith="view_", content_type__app_label__in=SHOWN)

# An operator acts on orders and messages. An approver decides on the runs of other people and holds
# steps for all orders, but does not act on single orders.
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


def make_groups(sender: Any, *, using: str, **_: Any) -> None:
    """Create the groups that are missing, once all permissions exist."""
    if using != router.db_for_write(Group):
        return
    for name, permitted in GROUPS.items():
        group, created = Group.objects.using(using).get_or_create(name=name)
        if created:
            group.permissions.set(Permission.objects.using(using).filter(permitted))
